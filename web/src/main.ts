import './base.css';
import './style.css';
import { App } from './app';
import { IndexedDbBackend } from './idb';
import { MemoryBackend, Store, type Backend } from './store';

let kept = true;
const backend: Promise<Backend> = IndexedDbBackend.open().catch(() => {
  kept = false;
  return new MemoryBackend();
});
const root = document.getElementById('app');
if (root !== null) {
  const app = new App(root, new Store(backend));
  app.start();
  void backend.then(() => app.loadHistory(kept));
}
