import { StorageError } from "./errors.ts";

export interface FilePart {
  fields: Map<string, string>;
  contentType: string | undefined;
  content: AsyncIterable<Uint8Array>;
}

const longestHeaders = 16 * 1024;
const longestField = 64 * 1024;
const mostFields = 20;

/**
 * Reads a multipart form as far as its file, whose content is then streamed: `Request.formData()` would hold
 * all of it in memory. Fields that follow the file are not read.
 */
export async function readFilePart(body: AsyncIterable<Uint8Array>, contentType: string): Promise<FilePart> {
  const boundary = /;\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))/i.exec(contentType);
  if (!boundary) throw invalidForm();
  const delimiter = Buffer.from(`\r\n--${boundary[1] ?? boundary[2]}`);
  const reader = new DelimitedReader(body);

  const fields = new Map<string, string>();
  await reader.readUntil(delimiter, longestField);
  while (fields.size <= mostFields) {
    // After a delimiter comes a new line and the next part, or two dashes and the end.
    if ((await reader.readUntil(Buffer.from("\r\n"), longestHeaders)).toString().trim() !== "")
      throw invalidForm();
    const headers = (await reader.readUntil(Buffer.from("\r\n\r\n"), longestHeaders)).toString();
    const disposition = /^content-disposition:(.*)$/im.exec(headers)?.[1] ?? "";
    if (/;\s*filename\*?=/i.test(disposition)) {
      const type = /^content-type:(.*)$/im.exec(headers)?.[1]?.trim();
      return { fields, contentType: type, content: reader.streamUntil(delimiter) };
    }
    const name = /;\s*name="([^"]*)"/i.exec(disposition)?.[1];
    const value = (await reader.readUntil(delimiter, longestField)).toString();
    if (name !== undefined) fields.set(name, value);
  }
  throw invalidForm();
}

class DelimitedReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  // The first delimiter may stand at the very start, without the line break that belongs to the others.
  #buffer: Buffer = Buffer.from("\r\n");

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#chunks = body[Symbol.asyncIterator]();
  }

  async readUntil(delimiter: Buffer, longest: number): Promise<Buffer> {
    for (;;) {
      const found = this.#buffer.indexOf(delimiter);
      if (found > longest || (found < 0 && this.#buffer.length > longest + delimiter.length))
        throw invalidForm();
      if (found >= 0) return this.#take(found, delimiter.length);
      await this.#fill();
    }
  }

  async *streamUntil(delimiter: Buffer): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const found = this.#buffer.indexOf(delimiter);
        if (found >= 0) {
          const last = this.#take(found, delimiter.length);
          if (last.length > 0) yield last;
          return;
        }
        // The end of what is here may be the beginning of the delimiter.
        const safe = this.#buffer.length - delimiter.length + 1;
        if (safe > 0) yield this.#take(safe, 0);
        await this.#fill();
      }
    } finally {
      // What the form still holds is passed over, also where its file is refused half-way.
      await this.#chunks.return?.();
    }
  }

  #take(length: number, skipped: number): Buffer {
    const taken = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length + skipped);
    return taken;
  }

  async #fill(): Promise<void> {
    const { value, done } = await this.#chunks.next();
    if (done) throw invalidForm();
    this.#buffer = this.#buffer.length === 0 ? Buffer.from(value) : Buffer.concat([this.#buffer, value]);
  }
}

function invalidForm(): StorageError {
  return new StorageError("InvalidRequest", "The form cannot be read, or holds no file");
}
