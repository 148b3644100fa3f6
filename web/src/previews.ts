import { h } from './dom';
import { formatName, type Picture } from './pictures';

/** Addresses of pictures for this page, one a picture, given back when no longer shown. */
export class Previews {
  private readonly urls = new Map<string, string>();

  url(picture: Picture): string {
    let url = this.urls.get(picture.id);
    if (url === undefined) {
      url = URL.createObjectURL(picture.bytes);
      this.urls.set(picture.id, url);
    }
    return url;
  }

  keepOnly(ids: Set<string>): void {
    for (const [id, url] of this.urls) {
      if (ids.has(id)) continue;
      URL.revokeObjectURL(url);
      this.urls.delete(id);
    }
  }

  /** The picture, or a tile with its format's name where this browser cannot show it. */
  image(picture: Picture, onUnreadable?: () => void): HTMLElement {
    const frame = h('span', { class: 'preview' });
    const image = h('img', { alt: picture.name, decoding: 'async', draggable: 'false' });
    image.addEventListener('error', () => {
      frame.classList.add('unreadable');
      frame.replaceChildren(
        h('span', { class: 'preview-format', title: `${picture.name}: no preview in this browser` }, formatName(picture.type)),
        h('span', { class: 'hidden' }, `${picture.name}, no preview`),
      );
      onUnreadable?.();
    });
    image.src = this.url(picture);
    frame.append(image);
    return frame;
  }
}
