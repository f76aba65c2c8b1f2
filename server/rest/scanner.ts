import type { Field, JsonStep } from "./query.ts";
import { type RestError, unparsable } from "./rest-error.ts";

/** Reads a text from left to right; what does not fit is refused by its place. */
export class Scanner {
  position = 0;
  readonly text: string;
  readonly #what: string;

  constructor(what: string, text: string) {
    this.#what = what;
    this.text = text;
  }

  get atEnd(): boolean {
    return this.position >= this.text.length;
  }

  sees(part: string): boolean {
    return this.text.startsWith(part, this.position);
  }

  take(part: string): boolean {
    if (!this.sees(part)) return false;
    this.position += part.length;
    return true;
  }

  /** A sticky pattern at this place. */
  takeMatch(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.text);
    if (!match) return undefined;
    this.position = pattern.lastIndex;
    return match;
  }

  until(stop: RegExp): string {
    const left = this.text.slice(this.position);
    const length = left.search(stop);
    const found = length === -1 ? left : left.slice(0, length);
    this.position += found.length;
    return found;
  }

  rest(): string {
    const left = this.text.slice(this.position);
    this.position = this.text.length;
    return left;
  }

  skipSpaces(): void {
    while (this.sees(" ")) this.position++;
  }

  expect(part: string): void {
    if (!this.take(part)) throw this.unexpected(`"${part}"`);
  }

  expectEnd(): void {
    if (!this.atEnd) throw this.unexpected("end of input");
  }

  unexpected(expected: string): RestError {
    const found = this.atEnd ? "end of input" : `"${this.text.slice(this.position, this.position + 20)}"`;
    return unparsable(this.#what, this.text, this.position, `unexpected ${found} expecting ${expected}`);
  }

  /** `"a \"quoted\" name"` */
  quoted(): string {
    const match = this.takeMatch(/"((?:[^"\\]|\\[\s\S])*)"/y);
    if (!match) throw this.unexpected("a closing quote");
    return (match[1] ?? "").replace(/\\([\s\S])/g, "$1");
  }

  /** A name as PostgREST takes it without quotes: letters, digits, `_`, `$`, spaces and dashes inside. */
  name(): string {
    return this.#name(/(?:[\p{L}\p{N}_$ ]|-(?=[\p{L}\p{N}_$ ]))+/uy);
  }

  field(): Field {
    const name = this.name();
    const path: JsonStep[] = [];
    while (this.sees("->")) {
      const asText = this.take("->>");
      if (!asText) this.take("->");
      const quoted = this.sees('"');
      const key = this.#name(/(?:[^-.,:()>"]|-(?!>))+/y);
      const isIndex = !quoted && /^-?\d{1,9}$/.test(key);
      path.push({ asText, key: isIndex ? Number(key) : key });
    }
    return { name, path };
  }

  #name(pattern: RegExp): string {
    if (this.sees('"')) return this.quoted();
    const start = this.position;
    const name = this.takeMatch(pattern)?.[0].trim();
    if (name) return name;
    this.position = start;
    throw this.unexpected("a name");
  }
}

/** Names with commas between them, up to the end. */
export function parseNames(what: string, text: string): string[] {
  if (text === "") return [];
  const scanner = new Scanner(what, text);
  const names: string[] = [];
  do {
    scanner.skipSpaces();
    names.push(scanner.name());
    scanner.skipSpaces();
  } while (scanner.take(","));
  scanner.expectEnd();
  return names;
}
