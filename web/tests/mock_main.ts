import { Mock } from './mock';

const mock = new Mock('dist/index.html');
mock.firstTokenMs = 1200;
mock.tokenMs = 40;
await mock.start(Number(process.env['PORT'] ?? 8099));
console.log(`the mock server is at ${mock.url}; Ctrl-C ends it`);
