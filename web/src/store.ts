import { picturesOf, settle, type Conversation } from './conversation';
import type { Picture } from './pictures';

/** A picture as it is kept: it belongs to one conversation. */
export interface StoredPicture extends Picture {
  conversation: string;
}

/** Where conversations and pictures lie; the store above it decides what lies there. */
export interface Backend {
  conversations(): Promise<Conversation[]>;
  putConversation(conversation: Conversation): Promise<void>;
  picture(id: string): Promise<StoredPicture | undefined>;
  picturesOf(conversation: string): Promise<StoredPicture[]>;
  putPictures(pictures: StoredPicture[]): Promise<void>;
  deletePictures(ids: string[]): Promise<void>;
  deleteConversation(id: string): Promise<void>;
  clear(): Promise<void>;
}

/** Keeps everything until the page is closed: for browsers that refuse IndexedDB, and for tests. */
export class MemoryBackend implements Backend {
  private readonly all = new Map<string, Conversation>();
  private readonly images = new Map<string, StoredPicture>();

  async conversations(): Promise<Conversation[]> {
    return [...this.all.values()].map((conversation) => structuredClone(conversation));
  }
  async putConversation(conversation: Conversation): Promise<void> {
    this.all.set(conversation.id, structuredClone(conversation));
  }
  async picture(id: string): Promise<StoredPicture | undefined> {
    return this.images.get(id);
  }
  async picturesOf(conversation: string): Promise<StoredPicture[]> {
    return [...this.images.values()].filter((picture) => picture.conversation === conversation);
  }
  async putPictures(pictures: StoredPicture[]): Promise<void> {
    for (const picture of pictures) this.images.set(picture.id, picture);
  }
  async deletePictures(ids: string[]): Promise<void> {
    for (const id of ids) this.images.delete(id);
  }
  async deleteConversation(id: string): Promise<void> {
    for (const picture of await this.picturesOf(id)) this.images.delete(picture.id);
    this.all.delete(id);
  }
  async clear(): Promise<void> {
    this.all.clear();
    this.images.clear();
  }
}

/** A conversation that was deleted, whole, so that it can come back. */
export interface Deleted {
  conversation: Conversation;
  pictures: StoredPicture[];
}

/** The history: what the list shows, newest first, and what is kept of it. */
export class Store {
  private list: Conversation[] = [];

  /** The backend may still be opening: what is asked of it waits, and the page does not. */
  constructor(private readonly backend: Backend | Promise<Backend>) {}

  /** Reads what was kept. Conversations that began meanwhile stay in the list. */
  async load(): Promise<void> {
    const kept = await (await this.backend).conversations();
    for (const conversation of kept) settle(conversation);
    this.list.push(...kept.filter(({ id }) => this.find(id) === undefined));
  }

  conversations(): readonly Conversation[] {
    return [...this.list].sort((a, b) => b.updated - a.updated);
  }

  find(id: string): Conversation | undefined {
    return this.list.find((conversation) => conversation.id === id);
  }

  /** Keeps the conversation as it is now; a new one joins the list. */
  async save(conversation: Conversation): Promise<void> {
    if (this.find(conversation.id) === undefined) this.list.push(conversation);
    await (await this.backend).putConversation(conversation);
  }

  async addPictures(conversation: Conversation, pictures: Picture[]): Promise<void> {
    await (await this.backend).putPictures(pictures.map((picture) => ({ ...picture, conversation: conversation.id })));
  }

  async picture(id: string): Promise<StoredPicture | undefined> {
    return (await this.backend).picture(id);
  }

  /** Deletes pictures that no turn shows any more, as after an edit that dropped later turns. */
  async prune(conversation: Conversation): Promise<void> {
    const used = picturesOf(conversation);
    const unused = (await (await this.backend).picturesOf(conversation.id)).filter((picture) => !used.has(picture.id));
    if (unused.length > 0) await (await this.backend).deletePictures(unused.map((picture) => picture.id));
  }

  async remove(id: string): Promise<Deleted | undefined> {
    const conversation = this.find(id);
    if (conversation === undefined) return undefined;
    const pictures = await (await this.backend).picturesOf(id);
    this.list = this.list.filter((other) => other.id !== id);
    await (await this.backend).deleteConversation(id);
    return { conversation, pictures };
  }

  async restore(deleted: Deleted): Promise<void> {
    await (await this.backend).putPictures(deleted.pictures);
    await this.save(deleted.conversation);
  }

  async clear(): Promise<void> {
    this.list = [];
    await (await this.backend).clear();
  }
}
