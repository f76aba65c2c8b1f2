import {
  ascii,
  type FileBytes,
  incomplete,
  type Part,
  type PartCount,
  type Stretch,
  viewOf,
} from "./file-parts.ts";

/** The chunks of a WebP or an AVI. The file must be as long as it says, up to one byte that makes its length even. */
export async function* riffChunks(file: FileBytes, name: string, count: PartCount): AsyncGenerator<Part> {
  // An AVI of more than a gigabyte continues in further parts.
  for (let position = 0; position < file.size;) {
    count.add();
    const header = await file.read(position, position + 12);
    const type = ascii(header, 0, 4);
    if (position > 0 && header.length === 1) return;
    if (header.length < 12) throw incomplete(`the ${name} ends within its header`);
    const length = viewOf(header).getUint32(4, true) + 8;
    const end = position + length;
    const isPart = type === "RIFF" && (position === 0 || (name === "AVI" && ascii(header, 8, 12) === "AVIX"));
    if (!isPart || length < 12 || end > file.size) {
      throw incomplete(`the ${name} says that it has ${isPart ? end : position} bytes, and has ${file.size}`);
    }
    yield* chunksOf(file, { start: position + 12, end }, name, count);
    position = end;
  }
}

/** Chunks that fill a stretch of the file. */
export async function* chunksOf(
  file: FileBytes,
  { start, end }: Stretch,
  name: string,
  count: PartCount,
): AsyncGenerator<Part> {
  for (let position = start; position < end;) {
    count.add();
    const header = await file.read(position, position + 8);
    const length = header.length < 8 ? 0 : viewOf(header).getUint32(4, true);
    const next = position + 8 + length;
    if (header.length < 8 || next > end) throw incomplete(`the ${name} ends within a chunk`);
    yield { type: ascii(header, 0, 4), start: position + 8, end: next };
    position = next + (length % 2);
  }
}
