import { h, icon, iconButton, replace } from '../src/dom';
import { agentIcon } from './icons';
import type { Agent, Message, Receipt } from './model';
import { clock, moment } from './words';

const steps: Receipt[] = ['queued', 'delivered', 'consumed', 'answered'];

/** How far a message has come, step by step, with the time of each. */
function receipts(message: Message): HTMLElement {
  const times: Record<Receipt, number> = { queued: message.queued_ms, delivered: message.delivered_ms, consumed: message.consumed_ms, answered: message.answered_ms };
  const reached = steps.indexOf(message.receipt);
  return h('ol', { class: 'receipts', 'aria-label': `Receipt: ${message.receipt}` }, ...steps.map((step, index) =>
    h('li', { class: index <= reached ? 'reached' : '', title: times[step] > 0 ? `${step} ${moment(times[step])}` : `not ${step} yet` },
      step, step === 'answered' && message.answered_by !== undefined ? ` by #${message.answered_by}` : '')));
}

export interface MessageActions {
  send(to: string, text: string, replyTo: number | undefined): Promise<boolean>;
  markRead(numbers: number[]): void;
}

/** Messages of one agent, or of all, and a box to write one. */
export class MessagesView {
  readonly element: HTMLElement;
  private readonly list = h('ul', { class: 'messages', 'aria-label': 'Messages' });
  private readonly scroller = h('div', { class: 'pane-scroll', tabindex: 0, role: 'region', 'aria-label': 'Messages' }, this.list);
  private readonly read = h('button', { type: 'button', class: 'text-button', onclick: () => this.actions.markRead(this.unread) }, 'Mark all as read');
  private readonly field = h('textarea', { id: 'message-text', rows: 2, 'aria-label': 'Message', placeholder: 'Write a message…', maxlength: 60000 });
  private readonly recipient = h('select', { 'aria-label': 'To' });
  private readonly reply = h('div', { class: 'reply-to' });
  private readonly button = h('button', { type: 'submit', class: 'send', 'aria-label': 'Send the message', title: 'Send' }, icon('send'));
  private readonly form = h('form', { class: 'message-form' });
  private agent: string | undefined;
  private replyTo: Message | undefined;
  private unread: number[] = [];
  private drawn = '';
  private names = '';

  constructor(private readonly actions: MessageActions) {
    this.form.append(this.reply, h('div', { class: 'message-row' }, this.recipient, this.field, this.button));
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.send();
    });
    this.field.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      void this.send();
    });
    this.element = h('div', { class: 'pane' }, this.scroller, this.form);
  }

  /** `agent` undefined: of all. */
  update(messages: Message[], agents: Agent[], agent: string | undefined, past: boolean): void {
    if (agent !== this.agent) {
      this.agent = agent;
      this.setReply(undefined);
    }
    const own = messages.filter(({ from, to }) => agent === undefined || from === agent || to === agent);
    this.unread = own.filter(({ to, receipt }) => to === 'human' && (receipt === 'queued' || receipt === 'delivered')).map(({ number }) => number);
    this.form.hidden = past;
    this.recipient.hidden = agent !== undefined;
    const names = agents.map(({ name }) => name);
    if (names.join(' ') !== this.names) {
      this.names = names.join(' ');
      const chosen = this.recipient.value;
      replace(this.recipient, ...names.map((name) => h('option', { value: name, selected: name === chosen }, name)));
    }
    this.button.disabled = agent === undefined && names.length === 0;
    const drawn = JSON.stringify([own, past, agent]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const atEnd = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < 40;
    replace(this.list, ...own.map((message) => this.item(message, past)));
    if (own.length === 0) this.list.append(h('li', { class: 'empty quiet' }, past ? 'Nobody had written yet.' : agent === undefined ? 'Nobody has written yet.' : `No messages to or from ${agent} yet.`));
    else if (this.unread.length > 0 && !past) this.list.append(h('li', { class: 'messages-read' }, this.read));
    if (atEnd) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  private item(message: Message, past: boolean): HTMLElement {
    const mine = message.from === 'human';
    const forMe = message.to === 'human';
    const fresh = this.unread.includes(message.number);
    return h('li', { class: `message${mine ? ' mine' : ''}${fresh ? ' fresh' : ''}` },
      h('div', { class: 'message-head' },
        h('strong', {}, mine ? 'you' : message.from), ' to ', h('strong', {}, forMe ? 'you' : message.to),
        message.kind === 'message' ? null : h('span', { class: 'tag' }, message.kind),
        h('span', { class: 'quiet' }, `#${message.number}${message.reply_to === undefined ? '' : `, answers #${message.reply_to}`}`),
        h('time', { class: 'quiet', datetime: new Date(message.queued_ms).toISOString(), title: moment(message.queued_ms) }, clock(message.queued_ms))),
      h('p', { class: 'message-text' }, message.text),
      h('div', { class: 'message-foot' }, receipts(message),
        forMe && !past && message.from !== 'supervisor' && this.knows(message.from)
          ? h('button', { type: 'button', class: 'text-button small', 'aria-label': `Answer message ${message.number}`, onclick: () => this.setReply(message) }, agentIcon('reply'), 'Answer')
          : null));
  }

  private knows(name: string): boolean {
    return this.names.split(' ').includes(name);
  }

  private setReply(message: Message | undefined): void {
    this.replyTo = message;
    replace(this.reply, ...(message === undefined ? [] : [
      h('span', {}, `Answers #${message.number} of ${message.from}`),
      iconButton('close', 'Answer no message', () => this.setReply(undefined), 'small')]));
    if (message === undefined) return;
    this.recipient.value = message.from;
    this.field.focus();
  }

  private async send(): Promise<void> {
    const text = this.field.value.trim();
    const to = this.replyTo?.from ?? this.agent ?? this.recipient.value;
    if (text === '' || to === '' || this.button.disabled) return;
    this.button.disabled = true;
    if (await this.actions.send(to, text, this.replyTo?.number)) {
      this.field.value = '';
      this.setReply(undefined);
      this.scroller.scrollTop = this.scroller.scrollHeight;
    }
    this.button.disabled = false;
  }
}
