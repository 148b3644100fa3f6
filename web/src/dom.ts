type Child = Node | string | null | undefined | false;
type Props = Record<string, string | number | boolean | undefined | ((event: never) => void)>;

/** Makes an element: `on…` are listeners, booleans are present or absent, text becomes text nodes and never HTML. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  put(element, ...children);
  return element;
}

export function put(element: Element, ...children: Child[]): void {
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
}

export function replace(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  put(element, ...children);
}

const svg = 'http://www.w3.org/2000/svg';

const paths = {
  plus: 'M12 5v14M5 12h14',
  image: 'M4 5.5h16v13H4zM4 16l4.5-4.5 4 4 2.5-2.5 5 5M15.5 9.5h.01',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  again: 'M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4v5h-5',
  edit: 'M4 20h4L19.5 8.5l-4-4L4 16zM13.5 6.5l4 4',
  trash: 'M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 13h9l1-13M10 11v5.5M14 11v5.5',
  close: 'M6 6l12 12M18 6L6 18',
  menu: 'M4 7h16M4 12h16M4 17h16',
  sliders: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  screen: 'M3.5 5h17v11.5h-17zM9 20.5h6M12 16.5v4',
  alert: 'M12 4l9 16H3zM12 10v4.5M12 17.3h.01',
  braces: 'M9 4.5c-2.5 0-3 1-3 3v1.5c0 2-.7 3-2.5 3 1.8 0 2.5 1 2.5 3v1.5c0 2 .5 3 3 3M15 4.5c2.5 0 3 1 3 3v1.5c0 2 .7 3 2.5 3-1.8 0-2.5 1-2.5 3v1.5c0 2-.5 3-3 3',
  eye: 'M2.5 12c2.7-4.7 6-7 9.5-7s6.8 2.3 9.5 7c-2.7 4.7-6 7-9.5 7s-6.8-2.3-9.5-7zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
};
export type IconName = keyof typeof paths;

/** Makes an element of a drawing. */
export function shape<K extends keyof SVGElementTagNameMap>(tag: K, props: Record<string, string | number>, ...children: (Node | string)[]): SVGElementTagNameMap[K] {
  const element = document.createElementNS(svg, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

export function drawnIcon(path: string, name: string): SVGSVGElement {
  return shape('svg', { viewBox: '0 0 24 24', class: `icon icon-${name}`, 'aria-hidden': 'true' }, shape('path', { d: path }));
}

export function icon(name: IconName): SVGSVGElement {
  return drawnIcon(paths[name], name);
}

export function brand(): HTMLElement {
  return h('span', { class: 'brand' }, h('span', { class: 'brand-mark' }, icon('eye')), h('span', { class: 'brand-name' }, 'onsight'));
}

/** A button that shows only an icon; its name is also its tooltip. */
export function iconButton(name: IconName, label: string, onclick: (event: MouseEvent) => void, className = ''): HTMLButtonElement {
  return h('button', { type: 'button', class: `icon-button ${className}`.trim(), 'aria-label': label, title: label, onclick }, icon(name));
}

/** Moving the focus into a text field opens the keyboard of a phone, which hides the answer. */
export function focusOnDesktop(element: HTMLElement): void {
  if (matchMedia('(pointer: fine)').matches || !matchMedia('(pointer: coarse)').matches) element.focus();
}
