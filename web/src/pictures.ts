/** A picture of a question: the bytes that the user gave, never encoded again. */
export interface Picture {
  id: string;
  name: string;
  type: string;
  bytes: Blob;
}

/** Larger files are refused here, since a request carries them as base64 and a browser holds both. */
export const maxPictureBytes = 64 * 1024 * 1024;

export const acceptedTypes = 'image/*,.heic,.heif,.avif,.tif,.tiff';

const ascii = (head: Uint8Array, from: number, to: number): string => String.fromCharCode(...head.subarray(from, to));

/** The media type that the first bytes tell, or nothing if they are none of a picture that onsight reads. Names and the browser's guess may lie. */
export function sniff(head: Uint8Array): string | undefined {
  if (head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff) return 'image/jpeg';
  if (ascii(head, 0, 8) === '\x89PNG\r\n\x1a\n') return 'image/png';
  if (ascii(head, 0, 4) === 'RIFF' && ascii(head, 8, 12) === 'WEBP') return 'image/webp';
  if (/^GIF8[79]a$/.test(ascii(head, 0, 6))) return 'image/gif';
  if (ascii(head, 0, 4) === 'II*\0' || ascii(head, 0, 4) === 'MM\0*') return 'image/tiff';
  if (ascii(head, 4, 8) === 'ftyp') {
    const brand = ascii(head, 8, 12);
    if (brand === 'avif' || brand === 'avis') return 'image/avif';
    if (/^(hei[cxms]|hev[cxms]|mif1|msf1|mif2)$/.test(brand)) return 'image/heic';
  }
  // Two letters are a weak sign, so the size of the header behind them must be one that exists.
  if (ascii(head, 0, 2) === 'BM' && [12, 40, 52, 56, 64, 108, 124].includes(head[14] ?? 0)) return 'image/bmp';
  return undefined;
}

export type Checked = { ok: true; picture: Picture } | { ok: false; message: string };

export async function checkPicture(file: Blob, name: string, id: string): Promise<Checked> {
  if (file.size === 0) return { ok: false, message: `“${name}” is empty.` };
  if (file.size > maxPictureBytes) {
    return { ok: false, message: `“${name}” is too large: ${formatBytes(file.size)}. At most ${formatBytes(maxPictureBytes)} can be sent.` };
  }
  let head: Uint8Array;
  try {
    head = new Uint8Array(await file.slice(0, 32).arrayBuffer());
  } catch {
    return { ok: false, message: `“${name}” cannot be read. If it is a folder, choose the pictures in it.` };
  }
  const type = sniff(head);
  if (type === undefined) {
    return { ok: false, message: `“${name}” is not a picture. JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC and AVIF can be read.` };
  }
  return { ok: true, picture: { id, name, type, bytes: file.type === type ? file : new Blob([file], { type }) } };
}

/** What the API takes as image_url: the bytes as they are, in base64. */
export function dataUrl(picture: Picture): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error('the picture cannot be read'));
    reader.readAsDataURL(picture.bytes);
  });
}

/** The name of a format for people: "HEIC". */
export function formatName(type: string): string {
  return type.replace(/^image\//, '').toUpperCase();
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} KB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
