import { listModels, streamChat, type ChatRequest } from './api';
import {
  addTurn, defaultQuestion, messagesOf, newConversation, newId, picturesOf, rename, reopenTurn, startAnswer, type Conversation, type Turn,
} from './conversation';
import { brand, focusOnDesktop, h, icon, iconButton, replace } from './dom';
import { brokenFailure, FailureError, type Failure } from './failure';
import { checkPicture, dataUrl, type Picture } from './pictures';
import { Previews } from './previews';
import { sampleFile, type Sample } from './samples';
import {
  loadApiKey, loadSettings, maxTokensOf, problemOf, saveApiKey, saveSettings, schemaOf, seedOf, temperatureOf, type Settings, type Theme,
} from './settings';
import type { Store } from './store';
import { Composer } from './ui/composer';
import { confirmDialog, keyDialog } from './ui/dialogs';
import { Announcer, Toasts, warning } from './ui/notices';
import { settingsDialog } from './ui/settings_dialog';
import { Sidebar } from './ui/sidebar';
import { TurnView } from './ui/turn';
import { welcome } from './ui/welcome';

interface Run {
  turn: Turn;
  controller: AbortController;
}

/** The page: what is shown, what runs, and what is kept. */
export class App {
  private readonly settings: Settings = loadSettings(localStorageOrNone());
  private apiKey = loadApiKey(sessionStorageOrNone());
  private models: string[] = [];
  private conversation: Conversation = newConversation(Date.now());
  private draft: Picture[] = [];
  private readonly runs = new Map<string, Run>();
  private readonly previews = new Previews();
  private readonly announcer = new Announcer();
  private readonly toasts = new Toasts();
  private readonly views = new Map<string, TurnView>();
  private readonly sidebar: Sidebar;
  private readonly composer: Composer;
  private readonly title = h('h1', { class: 'title' });
  private readonly status = h('button', { type: 'button', class: 'status', onclick: () => void this.openSettings() });
  private readonly themeButton = iconButton('screen', 'Appearance', () => this.nextTheme());
  private readonly menuButton = iconButton('menu', 'Show the list of conversations', () => this.showDrawer(true), 'drawer-only');
  private readonly banner = h('div', { class: 'banner', role: 'alert' });
  private readonly thread = h('div', { class: 'thread' });
  private readonly scroller = h('div', { class: 'scroller' }, this.banner, this.thread);
  private readonly shade = h('div', { class: 'shade', hidden: true, onclick: () => this.showDrawer(false) });
  private readonly dropHint = h('div', { class: 'drop-hint', hidden: true }, h('div', {}, icon('image'), h('p', {}, 'Drop to add the picture')));
  private readonly narrow = matchMedia('(max-width: 820px)');
  private keyDialogOpen = false;
  private connectTimer = 0;
  private frame = 0;
  private storageFailed = false;
  private following = false;

  constructor(private readonly root: HTMLElement, private readonly store: Store) {
    this.composer = new Composer({
      send: (question) => void this.send(question),
      stop: () => this.stop(),
      files: (files) => void this.addFiles(files),
      removePicture: (id) => {
        this.draft = this.draft.filter((picture) => picture.id !== id);
        this.renderComposer();
      },
      openSettings: () => void this.openSettings(),
    }, this.previews);
    this.sidebar = new Sidebar({
      open: (id) => this.open(id),
      fresh: () => this.fresh(),
      rename: (id, title) => this.rename(id, title),
      remove: (id) => void this.remove(id),
      clear: () => void this.clear(),
      close: () => this.showDrawer(false),
    });
  }

  start(): void {
    this.root.append(
      h('a', { class: 'skip', href: '#question', onclick: (event: Event) => (event.preventDefault(), this.composer.field.focus()) }, 'Skip to the question'),
      this.sidebar.element,
      this.shade,
      h('div', { class: 'page' },
        h('header', { class: 'header' },
          this.menuButton,
          brand(),
          this.title,
          h('div', { class: 'header-tools' }, this.status, this.themeButton,
            iconButton('sliders', 'Settings', () => void this.openSettings(), 'settings'))),
        h('main', { class: 'main' }, this.scroller, this.composer.element)),
      this.toasts.element, this.announcer.element, this.dropHint);
    this.applyTheme();
    this.listen();
    this.follow();
    this.showDrawer(false);
    this.show(this.conversation);
    focusOnDesktop(this.composer.field);
    void this.connect();
  }

  async loadHistory(kept: boolean): Promise<void> {
    await this.keep(() => this.store.load());
    if (!kept) this.toasts.show('This browser keeps nothing for this page, so conversations are gone when you close it.');
  }

  private listen(): void {
    this.narrow.addEventListener('change', () => this.showDrawer(false));
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.isComposing || document.querySelector('dialog[open]')) return;
      if (this.root.classList.contains('drawer-open')) this.showDrawer(false);
      else this.stop();
    });
    document.addEventListener('paste', (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      // Office programs put a picture of the text beside the text, which is what is meant.
      const text = ['text/plain', 'text/html'].every((type) => event.clipboardData?.types.includes(type));
      if (files.length === 0 || text || document.querySelector('dialog[open]')) return;
      event.preventDefault();
      void this.addFiles(files);
    });
    const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') === true && !document.querySelector('dialog[open]');
    document.addEventListener('dragover', (event) => {
      // Without this, a file that misses the target replaces the page.
      event.preventDefault();
      if (carriesFiles(event)) this.dropHint.hidden = false;
    });
    document.addEventListener('dragleave', (event) => {
      if (event.relatedTarget === null) this.dropHint.hidden = true;
    });
    document.addEventListener('drop', (event) => {
      event.preventDefault();
      this.dropHint.hidden = true;
      const files = [...(event.dataTransfer?.files ?? [])];
      if (carriesFiles(event) && files.length > 0) void this.addFiles(files);
      else if (event.dataTransfer?.types.includes('text/uri-list')) {
        this.composer.showProblems(['A picture of another page cannot be dropped here. Save it, or copy it and paste it.']);
      }
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.applyTheme());
  }

  // The server

  private async connect(): Promise<void> {
    clearTimeout(this.connectTimer);
    try {
      this.models = await listModels(this.apiKey);
      replace(this.banner);
    } catch (error) {
      this.models = [];
      const failure = failureIn(error);
      if (failure.kind === 'key') void this.askForKey();
      else this.connectTimer = window.setTimeout(() => void this.connect(), 5000);
      this.showBanner(failure);
    }
    this.renderStatus();
  }

  private showBanner(failure: Failure): void {
    if (this.banner.textContent.includes(failure.message)) return; // said already, and alerts are spoken
    replace(this.banner, warning(h('p', {}, failure.message),
      failure.kind === 'key'
        ? h('button', { type: 'button', class: 'button small', onclick: () => void this.askForKey() }, 'Enter the key')
        : h('button', { type: 'button', class: 'button small', onclick: () => void this.connect() }, 'Try again')));
  }

  private get model(): string {
    return this.models.includes(this.settings.model) ? this.settings.model : (this.models[0] ?? '');
  }

  private renderStatus(): void {
    const ready = this.model !== '';
    const text = ready ? this.model : 'No server';
    replace(this.status, h('span', { class: `dot ${ready ? 'ready' : 'off'}` }), h('span', { class: 'status-name' }, text));
    this.status.setAttribute('aria-label', ready ? `Model ${text}. Open the settings` : 'No server. Open the settings');
    this.status.title = text;
  }

  private async askForKey(): Promise<void> {
    if (this.keyDialogOpen) return;
    this.keyDialogOpen = true;
    const key = await keyDialog(this.apiKey);
    this.keyDialogOpen = false;
    if (key !== undefined) await this.useKey(key);
  }

  /** Takes a key, and asks again what the old one was refused for. */
  private async useKey(key: string): Promise<void> {
    if (key === this.apiKey && this.models.length > 0) return;
    this.apiKey = key;
    saveApiKey(sessionStorageOrNone(), key);
    replace(this.banner);
    await this.connect();
    const last = this.conversation.turns.at(-1);
    if (this.models.length > 0 && last?.answer?.failure?.kind === 'key') this.again(last);
  }

  // Asking

  private async addFiles(files: File[]): Promise<void> {
    const problems: string[] = [];
    this.composer.showProblems([]);
    for (const [i, file] of files.entries()) {
      const checked = await checkPicture(file, file.name || `picture ${i + 1}`, newId());
      if (checked.ok) this.draft.push(checked.picture);
      else problems.push(checked.message);
    }
    this.composer.showProblems(problems);
    this.renderComposer();
    if (this.draft.length > 0) {
      this.announcer.say(this.draft.length === 1 ? '1 picture added.' : `${this.draft.length} pictures added.`);
      focusOnDesktop(this.composer.field);
    }
  }

  private async askSample(sample: Sample): Promise<void> {
    const checked = await checkPicture(sampleFile(sample), sample.name, newId());
    if (!checked.ok) return;
    this.draft = [checked.picture];
    await this.send(sample.question);
  }

  private async send(text: string): Promise<void> {
    const conversation = this.conversation;
    if (this.runs.has(conversation.id) || this.refusedBySettings() || (text === '' && this.draft.length === 0)) return;
    const pictures = this.draft;
    const turn = addTurn(conversation, text || defaultQuestion, pictures.map(({ id }) => id), Date.now(), pictures.map(({ name }) => name));
    this.draft = [];
    this.composer.clear();
    this.composer.showProblems([]);
    for (const picture of pictures) this.unsaved.set(picture.id, picture);
    void this.keep(async () => {
      await this.store.addPictures(conversation, pictures);
      for (const picture of pictures) this.unsaved.delete(picture.id);
      await this.store.save(conversation);
    });
    await this.run(conversation, turn);
  }

  /** Pictures on their way to the disk; what could not be kept stays here, so that it can be sent all the same. */
  private readonly unsaved = new Map<string, Picture>();

  private async picture(id: string): Promise<Picture | undefined> {
    return this.unsaved.get(id) ?? (await this.store.picture(id));
  }

  private again(turn: Turn, question?: string): void {
    const conversation = this.conversation;
    if (this.refusedBySettings()) return;
    this.runs.get(conversation.id)?.controller.abort();
    this.runs.delete(conversation.id);
    if (reopenTurn(conversation, turn.id, Date.now(), question) === undefined) return;
    void this.keep(async () => {
      await this.store.prune(conversation);
      await this.store.save(conversation);
    });
    void this.run(conversation, turn);
    focusOnDesktop(this.composer.field);
  }

  private refusedBySettings(): boolean {
    const problem = problemOf(this.settings);
    if (problem !== undefined) this.composer.showProblems([problem], { label: 'Open the settings', run: () => void this.openSettings() });
    return problem !== undefined;
  }

  private async request(conversation: Conversation): Promise<ChatRequest> {
    if (this.model === '') await this.connect();
    if (this.model === '') this.models = await listModels(this.apiKey); // for the reason why there is none
    if (this.model === '') throw new FailureError({ kind: 'server', message: 'The server has no model loaded.' });
    const request: ChatRequest = {
      model: this.model,
      messages: await messagesOf(conversation, async (id) => {
        const picture = await this.picture(id);
        if (picture === undefined) throw new FailureError({ kind: 'refused', message: 'A picture of this conversation is no longer kept. Start a new one.' });
        return dataUrl(picture);
      }),
    };
    const [temperature, maxTokens, seed, schema] = [temperatureOf(this.settings), maxTokensOf(this.settings), seedOf(this.settings), schemaOf(this.settings)];
    if (temperature.ok && temperature.value !== undefined) request.temperature = temperature.value;
    if (maxTokens.ok && maxTokens.value !== undefined) request.max_tokens = maxTokens.value;
    if (seed.ok && seed.value !== undefined) request.seed = seed.value;
    if (schema.ok && schema.value !== undefined) {
      request.response_format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema: schema.value } };
    }
    return request;
  }

  private async run(conversation: Conversation, turn: Turn): Promise<void> {
    const controller = new AbortController();
    const answer = startAnswer(turn, this.settings.useSchema);
    this.runs.set(conversation.id, { turn, controller });
    if (this.conversation === conversation) {
      this.views.get(turn.id)?.dispose();
      this.views.delete(turn.id);
      this.show(conversation);
    }
    this.announcer.say(turn.pictures.length === 0 ? 'Asked.' : 'Asked. The picture is being read.');
    const started = performance.now();
    const { stats } = answer;
    let pieces = 0;
    let counted = false;
    let lastSave = started;
    try {
      const body = await this.request(conversation);
      controller.signal.throwIfAborted();
      await streamChat(body, this.apiKey, controller.signal, {
        onText: (text) => {
          stats.firstTokenMs ??= performance.now() - started;
          stats.totalMs = performance.now() - started;
          answer.text += text;
          ++pieces;
          this.drawSoon(conversation, turn);
          // A page that is closed in the middle of an answer keeps what came.
          if (performance.now() - lastSave > 2000) {
            lastSave = performance.now();
            if (this.store.find(conversation.id) !== undefined) void this.keep(() => this.store.save(conversation));
          }
        },
        onFinish: (reason) => (answer.finish = reason),
        onUsage: (promptTokens, completionTokens) => {
          counted = true;
          stats.promptTokens = promptTokens;
          stats.completionTokens = completionTokens;
        },
      });
      answer.state = 'done';
    } catch (error) {
      if (controller.signal.aborted) {
        answer.state = 'stopped';
      } else {
        answer.state = 'failed';
        answer.failure = failureIn(error);
      }
    }
    if (!counted && pieces > 0) Object.assign(stats, { completionTokens: pieces, estimated: true });
    if (stats.firstTokenMs !== undefined && answer.state === 'done') stats.totalMs ??= performance.now() - started;
    if (this.runs.get(conversation.id)?.controller !== controller) return; // another question took its place
    this.runs.delete(conversation.id);
    conversation.updated = Date.now();
    if (this.store.find(conversation.id) !== undefined) void this.keep(() => this.store.save(conversation));
    this.finish(conversation, turn);
  }

  private finish(conversation: Conversation, turn: Turn): void {
    const { answer } = turn;
    this.renderSidebar();
    if (conversation !== this.conversation || answer === undefined) return;
    const hadFocus = document.activeElement;
    this.views.get(turn.id)?.update();
    this.renderComposer();
    // The stop button has gone, and must not take the focus with it.
    if (hadFocus instanceof HTMLElement && hadFocus.classList.contains('stop')) this.composer.field.focus();
    if (answer.state === 'done') this.announcer.say(`Answer: ${answer.text}`);
    else if (answer.state === 'stopped') this.announcer.say('Stopped.');
    else this.announcer.say(answer.failure?.message ?? '');
    if (answer.failure?.kind === 'key') void this.askForKey();
    if (answer.failure?.kind === 'gone') void this.connect();
  }

  private stop(): void {
    this.runs.get(this.conversation.id)?.controller.abort();
  }

  // The history

  private fresh(): void {
    this.showDrawer(false);
    if (this.conversation.turns.length > 0) this.show(newConversation(Date.now()));
    this.composer.showProblems([]);
    this.composer.field.focus();
  }

  private open(id: string): void {
    const conversation = this.store.find(id);
    this.showDrawer(false);
    if (conversation === undefined || conversation === this.conversation) return;
    this.show(conversation);
  }

  private rename(id: string, title: string): void {
    const conversation = this.store.find(id);
    if (conversation !== undefined && conversation.title !== title) {
      rename(conversation, title);
      void this.keep(() => this.store.save(conversation));
    }
    this.renderTitle();
    this.renderSidebar();
  }

  private async remove(id: string): Promise<void> {
    this.runs.get(id)?.controller.abort();
    const deleted = await this.store.remove(id);
    if (deleted === undefined) return;
    if (this.conversation.id === id) this.show(newConversation(Date.now()));
    else this.renderSidebar();
    this.composer.field.focus();
    this.toasts.show(`“${deleted.conversation.title}” is deleted.`, {
      label: 'Undo',
      run: () => void this.keep(async () => {
        await this.store.restore(deleted);
        this.show(deleted.conversation);
      }),
    });
  }

  private async clear(): Promise<void> {
    const sure = await confirmDialog('Delete all conversations?', 'All questions, answers and pictures in this browser go. This cannot be undone.', 'Delete all');
    if (!sure) return;
    for (const run of this.runs.values()) run.controller.abort();
    await this.keep(() => this.store.clear());
    this.show(newConversation(Date.now()));
    this.showDrawer(false);
    this.composer.field.focus();
  }

  /** Keeps something, and says once if the browser would not. */
  private async keep(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch {
      if (!this.storageFailed) this.toasts.show('This browser could not keep the conversation. Its room may be full: delete some.');
      this.storageFailed = true;
    }
    this.renderSidebar();
  }

  // Drawing

  private show(conversation: Conversation): void {
    const turns = new Set(conversation.turns);
    for (const [id, view] of this.views) {
      if (turns.has(view.turn)) continue; // keeps its pictures, which would flash if drawn anew
      view.dispose();
      this.views.delete(id);
    }
    this.conversation = conversation;
    this.previews.keepOnly(new Set([...picturesOf(conversation), ...this.draft.map((picture) => picture.id)]));
    if (conversation.turns.length === 0) {
      replace(this.thread, welcome(() => this.composer.choose(), (sample) => void this.askSample(sample)));
    } else {
      conversation.turns.forEach((turn, i) => {
        if (this.views.has(turn.id)) return;
        this.views.set(turn.id, new TurnView(turn, i + 1, this.previews, {
          again: (which, question) => this.again(which, question),
          copied: () => this.announcer.say('Copied.'),
          enterKey: () => void this.askForKey(),
          picture: (id) => this.picture(id),
          formatted: () => this.settings.format,
        }));
      });
      replace(this.thread, ...conversation.turns.map((turn) => this.views.get(turn.id)?.element));
    }
    this.thread.classList.toggle('empty', conversation.turns.length === 0);
    this.following = conversation.turns.length > 0;
    this.scroller.scrollTop = this.following ? this.scroller.scrollHeight : 0;
    this.renderTitle();
    this.renderSidebar();
    this.renderComposer();
    this.renderStatus();
  }

  private renderTitle(): void {
    this.title.textContent = this.conversation.title;
    this.title.classList.toggle('hidden', this.conversation.turns.length === 0); // the welcome says it already
    document.title = this.conversation.turns.length === 0 ? 'onsight' : `${this.conversation.title} · onsight`;
  }

  private renderSidebar(): void {
    this.sidebar.render(this.store.conversations(), this.conversation.id, (id) => this.runs.has(id));
  }

  private renderComposer(): void {
    this.thread.classList.toggle('has-pictures', this.draft.length > 0);
    this.composer.render(this.draft, this.runs.has(this.conversation.id), this.settings.useSchema, this.conversation.turns.length === 0);
  }

  /** Draws once a frame, however many tokens come in it. */
  private drawSoon(conversation: Conversation, turn: Turn): void {
    if (this.frame !== 0 || conversation !== this.conversation) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.views.get(turn.id)?.update();
    });
  }

  /** Follows what grows, answers and pictures that load, but leaves a reader who has scrolled up where they are. */
  private follow(): void {
    let top = 0;
    this.scroller.addEventListener('scroll', () => {
      const { scrollTop, scrollHeight, clientHeight } = this.scroller;
      const atEnd = scrollHeight - scrollTop - clientHeight < 60;
      // Only a move upwards is the reader's: growth comes between a move to the end and its event.
      if (atEnd) this.following = true;
      else if (scrollTop < top - 2) this.following = false;
      top = scrollTop;
    });
    const observer = new ResizeObserver(() => {
      if (this.following) this.toEnd();
    });
    observer.observe(this.thread);
    observer.observe(this.scroller);
  }

  private toEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  private showDrawer(open: boolean): void {
    const wasOpen = this.root.classList.contains('drawer-open');
    const drawer = this.narrow.matches;
    this.root.classList.toggle('drawer-open', drawer && open);
    this.shade.hidden = !(drawer && open);
    this.sidebar.element.inert = drawer && !open;
    const page = this.root.querySelector<HTMLElement>('.page');
    if (page) page.inert = drawer && open;
    this.menuButton.setAttribute('aria-expanded', String(drawer && open));
    this.menuButton.setAttribute('aria-controls', 'history');
    if (drawer && open) this.sidebar.element.querySelector<HTMLElement>('button')?.focus();
    else if (wasOpen) this.menuButton.focus();
  }

  // Settings

  private async openSettings(): Promise<void> {
    if (document.querySelector('dialog[open]')) return;
    if (this.models.length === 0) void this.connect();
    await settingsDialog({
      settings: this.settings,
      models: this.models,
      apiKey: this.apiKey,
      changed: () => this.settingsChanged(),
      keyChanged: (key) => void this.useKey(key),
    });
    if (problemOf(this.settings) === undefined) this.composer.showProblems([]);
  }

  private settingsChanged(): void {
    saveSettings(localStorageOrNone(), this.settings);
    this.applyTheme();
    this.renderComposer();
    this.renderStatus();
    for (const view of this.views.values()) view.refresh();
  }

  private applyTheme(): void {
    const { theme } = this.settings;
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
    const names: Record<Theme, ['screen' | 'sun' | 'moon', string]> = { system: ['screen', 'system'], light: ['sun', 'light'], dark: ['moon', 'dark'] };
    const [name, label] = names[theme];
    replace(this.themeButton, icon(name));
    this.themeButton.title = `Appearance: ${label}`;
    this.themeButton.setAttribute('aria-label', `Appearance: ${label}. Change it`);
  }

  private nextTheme(): void {
    // From "system", the first press must be seen to do something.
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    const order: Theme[] = dark ? ['system', 'light', 'dark'] : ['system', 'dark', 'light'];
    this.settings.theme = order[(order.indexOf(this.settings.theme) + 1) % order.length] ?? 'system';
    this.settingsChanged();
    this.announcer.say(`Appearance: ${this.settings.theme}.`);
  }
}

function failureIn(error: unknown): Failure {
  return error instanceof FailureError ? error.failure : { ...brokenFailure, message: `Something in this page failed: ${String(error)}` };
}

// Browsers that refuse storage throw as soon as it is touched.
function localStorageOrNone(): Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => undefined, removeItem: () => undefined };
  }
}

function sessionStorageOrNone(): Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> {
  try {
    return sessionStorage;
  } catch {
    return { getItem: () => null, setItem: () => undefined, removeItem: () => undefined };
  }
}
