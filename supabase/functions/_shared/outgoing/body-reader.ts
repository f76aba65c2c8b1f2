import { Buffer } from "node:buffer";
import { type Head, InvalidAnswer } from "./head.ts";

/** There is more of the body than is taken. */
export class BodyTooLarge extends Error {}

const longestLine = 1024;

/** The body of an answer, put together from the pieces in which it comes; never more than its limit is kept. */
export class BodyReader {
  readonly head: Head;
  /** Neither a length nor chunks say where it ends. */
  readonly endsWithConnection: boolean;
  readonly #limit: number;
  /** What is still to come, of the body or of the chunk; undefined where only the connection's end tells. */
  #expected: number | undefined;
  readonly #isChunked: boolean;
  /** Chunks: where in the format the next byte is. */
  #place: "size" | "data" | "end of data" | "trailer" = "size";
  #line = "";
  readonly #pieces: Uint8Array[] = [];
  #size = 0;

  /** @throws InvalidAnswer, BodyTooLarge by what the head says */
  constructor(head: Head, limit: number) {
    this.head = head;
    this.#limit = limit;
    const encoding = head.headers.get("content-encoding") ?? "identity";
    if (encoding.toLowerCase() !== "identity")
      throw new InvalidAnswer("the body is encoded, which was not asked for");
    const transfer = head.headers.get("transfer-encoding")?.toLowerCase();
    if (transfer !== undefined && transfer !== "chunked")
      throw new InvalidAnswer("unknown transfer encoding");
    this.#isChunked = transfer === "chunked";
    const length = head.headers.get("content-length");
    if (!this.#isChunked && length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) throw new InvalidAnswer("the length of the body is no number");
      this.#expected = Number(length);
      if (this.#expected > limit) throw new BodyTooLarge(`more than ${limit} bytes`);
    }
    this.endsWithConnection = !this.#isChunked && this.#expected === undefined;
  }

  /** Takes the next piece. @returns whether that was all @throws InvalidAnswer, BodyTooLarge */
  read(piece: Uint8Array): boolean {
    if (this.#isChunked) return this.#readChunks(piece);
    this.#keep(this.#expected === undefined ? piece : piece.subarray(0, this.#expected - this.#size));
    return this.#size === this.#expected;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#pieces, this.#size);
  }

  #keep(piece: Uint8Array): void {
    this.#size += piece.length;
    if (this.#size > this.#limit) throw new BodyTooLarge(`more than ${this.#limit} bytes`);
    this.#pieces.push(piece);
  }

  #readChunks(piece: Uint8Array): boolean {
    for (let at = 0; at < piece.length;) {
      if (this.#place === "data") {
        const part = piece.subarray(at, at + (this.#expected ?? 0));
        this.#keep(part);
        at += part.length;
        this.#expected = (this.#expected ?? 0) - part.length;
        if (this.#expected === 0) this.#place = "end of data";
        continue;
      }
      const line = this.#nextLine(piece[at++] ?? 0);
      if (line === undefined) continue;
      if (this.#place === "trailer") {
        if (line === "") return true;
      } else if (this.#place === "end of data") {
        if (line !== "") throw new InvalidAnswer("a chunk is longer than it says");
        this.#place = "size";
      } else {
        const size = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)?.[1];
        if (size === undefined) throw new InvalidAnswer("the size of a chunk is no number");
        this.#expected = Number.parseInt(size, 16);
        this.#place = this.#expected === 0 ? "trailer" : "data";
      }
    }
    return false;
  }

  /** One more byte of a line; the line, when that was its end. */
  #nextLine(byte: number): string | undefined {
    if (this.#line.length > longestLine) throw new InvalidAnswer("a line between chunks is too long");
    this.#line += String.fromCharCode(byte);
    if (!this.#line.endsWith("\r\n")) return undefined;
    const line = this.#line.slice(0, -2);
    this.#line = "";
    return line;
  }
}
