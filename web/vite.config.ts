import { createHash } from 'node:crypto';
import { defineConfig, type Plugin } from 'vite';

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Puts script and style into the page, and the policy that allows those two and nothing else. */
function oneFile(): Plugin {
  return {
    name: 'one-file',
    apply: 'build',
    enforce: 'post',
    generateBundle(_options, bundle) {
      const page = bundle['index.html'];
      if (page?.type !== 'asset') throw new Error('index.html is not in the bundle');
      let html = String(page.source).replace(/\s*<(script|link)\b[^>]*(crossorigin|rel="stylesheet")[^>]*>(<\/script>)?/g, '');
      let style = '';
      let script = '';
      for (const [name, file] of Object.entries(bundle)) {
        if (name === 'index.html') continue;
        if (file.type === 'chunk') script += file.code.trim().replaceAll('</script', '<\\/script');
        else if (name.endsWith('.css')) style += String(file.source).trim();
        else throw new Error(`${name} would be a second file`);
        delete bundle[name];
      }
      const policy = [
        "default-src 'none'", 'img-src data: blob:', "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
        `style-src ${hash(style)}`, `script-src ${hash(script)}`,
      ].join('; ');
      // Functions, since a `$&` in the script would mean something to replace().
      html = html
        .replace('<meta charset="utf-8">', (charset) => `${charset}\n  <meta http-equiv="Content-Security-Policy" content="${policy}">`)
        .replace('</head>', () => `<style>${style}</style>\n</head>`)
        .replace('</body>', () => `<script type="module">${script}</script>\n</body>`);
      page.source = html;
    },
  };
}

const server = process.env['ONSIGHT_URL'] ?? 'http://127.0.0.1:8099';

export default defineConfig({
  plugins: [oneFile()],
  server: { proxy: { '/v1': server }, fs: { allow: ['..'] } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 1 << 20,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
