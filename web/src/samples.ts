import receipt from '../../examples/receipt.jpg?inline';
import scene from './samples/scene.webp?inline';
import screenshot from './samples/screenshot.webp?inline';

/** The pictures of examples/, pixel for pixel (the PNGs as lossless WebP, to be small): one click shows what the program does. */
export interface Sample {
  name: string;
  url: string;
  question: string;
  /** Shown whole, since it is square and would lose its edges. */
  whole: boolean;
}

export const samples: Sample[] = [
  { name: 'receipt.jpg', url: receipt, question: 'What is the total?', whole: false },
  { name: 'screenshot.webp', url: screenshot, question: 'Read the text.', whole: false },
  { name: 'scene.webp', url: scene, question: 'What colour is the square?', whole: true },
];

/** The bytes of the file. fetch() would do, but the page's policy lets it ask the server only. */
export function sampleFile(sample: Sample): File {
  const [head = '', body = ''] = sample.url.split(',');
  const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
  return new File([bytes], sample.name, { type: /:(.*?);/.exec(head)?.[1] ?? '' });
}
