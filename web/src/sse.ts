/**
 * Server-sent events, as the HTML standard reads them: bytes may be cut anywhere, lines end in LF, CR or CRLF, and several data lines
 * are one event. Only the data is given on: OpenAI's stream uses no other field.
 */
export class SseParser {
  private readonly decoder = new TextDecoder('utf-8');
  private buffer = '';
  private data: string[] = [];
  private skipLineFeed = false;

  /** The data of each event that these bytes complete. */
  push(bytes: Uint8Array): string[] {
    return this.take(this.decoder.decode(bytes, { stream: true }));
  }

  private take(text: string): string[] {
    const events: string[] = [];
    this.buffer += text;
    let start = 0;
    for (let i = 0; i < this.buffer.length; ++i) {
      const c = this.buffer[i];
      if (this.skipLineFeed) {
        // A CR at the end of a piece has ended its line already; the LF of a CRLF may come in the next piece.
        this.skipLineFeed = false;
        if (c === '\n') {
          start = i + 1;
          continue;
        }
      }
      if (c !== '\n' && c !== '\r') continue;
      this.line(this.buffer.slice(start, i), events);
      start = i + 1;
      this.skipLineFeed = c === '\r';
    }
    this.buffer = this.buffer.slice(start);
    return events;
  }

  private line(line: string, events: string[]): void {
    if (line === '') {
      if (this.data.length > 0) events.push(this.data.join('\n'));
      this.data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== 'data') return; // comments too: their field is empty
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    this.data.push(value);
  }
}
