import type { Conversation } from './conversation';
import type { Backend, StoredPicture } from './store';

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB failed'));
  });
}

/** Conversations and pictures in two stores, since the list is read without the pictures. */
export class IndexedDbBackend implements Backend {
  private constructor(private readonly db: IDBDatabase) {}

  static async open(): Promise<IndexedDbBackend> {
    // Refused storage throws here, which makes it a rejection like the others.
    const request = indexedDB.open('onsight', 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('conversations', { keyPath: 'id' });
      request.result.createObjectStore('pictures', { keyPath: 'id' }).createIndex('conversation', 'conversation');
    };
    return new IndexedDbBackend(await result(request));
  }

  /** Runs a transaction and waits until it is on disk: only then may the page say that something is kept. */
  private async write(act: (conversations: IDBObjectStore, pictures: IDBObjectStore) => void): Promise<void> {
    const transaction = this.db.transaction(['conversations', 'pictures'], 'readwrite');
    const complete = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error('IndexedDB failed'));
    });
    act(transaction.objectStore('conversations'), transaction.objectStore('pictures'));
    await complete;
  }

  private read(store: 'conversations' | 'pictures'): IDBObjectStore {
    return this.db.transaction(store, 'readonly').objectStore(store);
  }

  conversations(): Promise<Conversation[]> {
    return result<Conversation[]>(this.read('conversations').getAll());
  }
  putConversation(conversation: Conversation): Promise<void> {
    return this.write((conversations) => conversations.put(conversation));
  }
  picture(id: string): Promise<StoredPicture | undefined> {
    return result<StoredPicture | undefined>(this.read('pictures').get(id));
  }
  picturesOf(conversation: string): Promise<StoredPicture[]> {
    return result<StoredPicture[]>(this.read('pictures').index('conversation').getAll(conversation));
  }
  putPictures(list: StoredPicture[]): Promise<void> {
    return this.write((_, pictures) => list.forEach((picture) => pictures.put(picture)));
  }
  deletePictures(ids: string[]): Promise<void> {
    return this.write((_, pictures) => ids.forEach((id) => pictures.delete(id)));
  }
  deleteConversation(id: string): Promise<void> {
    return this.write((conversations, pictures) => {
      conversations.delete(id);
      const keys = pictures.index('conversation').getAllKeys(id);
      keys.onsuccess = () => keys.result.forEach((key) => pictures.delete(key));
    });
  }
  clear(): Promise<void> {
    return this.write((conversations, pictures) => {
      conversations.clear();
      pictures.clear();
    });
  }
}
