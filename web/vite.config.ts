import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Puts script and style into the page, and the policy that allows those two and nothing else. */
function oneFile(name: string, styles: (style: string) => string, more: string[], notice: string): Plugin {
  return {
    name: 'one-file',
    apply: 'build',
    enforce: 'post',
    generateBundle(_options, bundle) {
      const page = bundle[name];
      if (page?.type !== 'asset') throw new Error(`${name} is not in the bundle`);
      let html = String(page.source).replace(/\s*<(script|link)\b[^>]*(crossorigin|rel="stylesheet")[^>]*>(<\/script>)?/g, '');
      let style = '';
      let script = '';
      for (const [part, file] of Object.entries(bundle)) {
        if (part === name) continue;
        if (file.type === 'chunk') script += file.code.trim().replaceAll('</script', '<\\/script');
        else if (part.endsWith('.css')) style += String(file.source).trim();
        else throw new Error(`${part} would be a second file`);
        delete bundle[part];
      }
      const policy = [
        "default-src 'none'", 'img-src data: blob:', "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
        `style-src ${styles(style)}`, `script-src ${hash(script)}`, ...more,
      ].join('; ');
      // Functions, since a `$&` in the script would mean something to replace().
      html = html
        .replace('<head>', (head) => `${notice}${head}`)
        .replace('<meta charset="utf-8">', (charset) => `${charset}\n  <meta http-equiv="Content-Security-Policy" content="${policy}">`)
        .replace('</head>', () => `<style>${style}</style>\n</head>`)
        .replace('</body>', () => `<script type="module">${script}</script>\n</body>`);
      page.source = html;
    },
  };
}

const modelServer = process.env['ONSIGHT_URL'] ?? 'http://127.0.0.1:8099';
// Of `onsight agents serve --port 8098`; its token goes along as ONSIGHT_TOKEN.
const agentsServer = {
  target: 'http://127.0.0.1:8098', changeOrigin: true,
  headers: { Authorization: `Bearer ${process.env['ONSIGHT_TOKEN'] ?? ''}`, Origin: 'http://127.0.0.1:8098' },
};

/** `vite build` makes dist/index.html, the page of `onsight serve`; with --mode agents dist/agents.html, that of `onsight agents serve`. */
export default defineConfig(({ mode }) => {
  const name = mode === 'agents' ? 'agents.html' : 'index.html';
  // The terminal writes style elements of its own. Nothing, not even by mistake, makes HTML of a text. Its licence asks to be passed on.
  const plugin = mode === 'agents'
    ? oneFile(name, () => "'unsafe-inline'", ["require-trusted-types-for 'script'", "trusted-types 'none'"], `<!-- @xterm/xterm is in this page:\n${readFileSync('node_modules/@xterm/xterm/LICENSE', 'utf8').trim()}\n-->\n`)
    : oneFile(name, hash, [], '');
  return {
    plugins: [plugin],
    server: { proxy: { '/v1': modelServer, '/api': agentsServer }, fs: { allow: ['..'] } },
    build: {
      target: 'es2022',
      assetsInlineLimit: 1 << 20,
      cssCodeSplit: false,
      emptyOutDir: false,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      rollupOptions: { input: name },
    },
  };
});
