import {
  ascii,
  damaged,
  type FileBytes,
  incomplete,
  isPaddingFrom,
  lengthWithoutPadding,
  type Part,
  PartCount,
  type Stretch,
  tooManyParts,
  viewOf,
} from "./file-parts.ts";
import { topLevelBoxes } from "./film-file.ts";
import { type FrameSize, headBytes, sizeOfImage } from "./picture-size.ts";
import { chunksOf, riffChunks } from "./riff.ts";

/** Of a PNG; some programs write one for each line. Equal ones are skipped and count as a few. */
const mostPngChunks = 65_536;
/** Segments before the image data of a JPEG: profiles and notes take some twenty. */
const mostSegments = 256;
/** Of a WebP: one for each frame. */
const mostWebpChunks = 4096;
/** A GIF has no lengths by which it could be skipped: one that is longer is followed only so far. */
const longestGif = 16 * 1024 * 1024;
const gifWindow = 1024 * 1024;
const longestMeta = 1024 * 1024;
const mostMetaEntries = 65_536;

/** Its chunks must fill it up to IEND, and its data must begin as compressed data does. */
export async function checkPng(file: FileBytes): Promise<FrameSize | undefined> {
  const count = new PartCount(mostPngChunks, "PNG");
  let position = 8;
  let hasData = false;
  let last = -1;
  for (;;) {
    const chunk = await pngChunk(file, position, count);
    if (!chunk) throw incomplete("the PNG does not end with an IEND chunk");
    const { type, start, end } = chunk;
    if ((position === 8) !== (type === "IHDR")) throw damaged("PNG", "its chunks do not begin with IHDR");
    position = end + 4;
    if (type === "IEND") break;
    if (type !== "IDAT" || end === start) continue;
    if (!hasData && !isZlibStart(await file.read(start, start + 2))) {
      throw damaged("PNG", "its image data is not compressed data");
    }
    hasData = true;
    if (end - start === last) position = await behindEqualChunks(file, chunk, count);
    last = end - start;
  }
  if (!hasData) throw incomplete("the PNG has no image data");
  if (!(await isPaddingFrom(file, position))) throw damaged("PNG", "something follows its IEND chunk");
  return sizeOfImage(await file.read(0, headBytes["image/png"] ?? 64));
}

async function pngChunk(file: FileBytes, position: number, count: PartCount): Promise<Part | undefined> {
  count.add();
  const header = await file.read(position, position + 8);
  if (header.length < 8) return undefined;
  const [type, start] = [ascii(header, 4, 8), position + 8];
  const end = start + viewOf(header).getUint32(0);
  return end + 4 <= file.size && /^[A-Za-z]{4}$/.test(type) ? { type, start, end } : undefined;
}

/** Most programs write chunks of one length: how far they go is found by steps that double, then by halves. */
async function behindEqualChunks(file: FileBytes, chunk: Part, count: PartCount): Promise<number> {
  const length = chunk.end - chunk.start;
  let [first, step, isDoubling] = [chunk.start - 8, 1, true];
  while (step >= 1) {
    const found = await pngChunk(file, first + step * (length + 12), count);
    const isEqual = found?.type === "IDAT" && found.end - found.start === length;
    if (isEqual) first += step * (length + 12);
    isDoubling &&= isEqual;
    step = isDoubling ? step * 2 : Math.floor(step / 2);
  }
  return first + length + 12;
}

function isZlibStart(bytes: Uint8Array): boolean {
  const [method = 0, flags = 0] = bytes;
  // A length of 1 says nothing yet.
  return (method & 15) === 8 && (bytes.length < 2 || (method * 256 + flags) % 31 === 0);
}

/** Its segments lead to its image data, which must not be empty, and must end with EOI. */
export async function checkJpeg(file: FileBytes): Promise<FrameSize | undefined> {
  const data = await jpegDataStart(file);
  const end = await lengthWithoutPadding(file);
  // Within the data, 0xFF is always followed by a zero or the number of a restart.
  if (ascii(await file.read(end - 2, end), 0, 2) !== "\xff\xd9") {
    throw incomplete("the JPEG does not end with an EOI marker");
  }
  if (end - 2 <= data) throw incomplete("the JPEG has no image data");
  return sizeOfImage(await file.read(0, Math.min(data, headBytes["image/jpeg"])));
}

/** Where the image data of a JPEG begins, after its segments. */
async function jpegDataStart(file: FileBytes): Promise<number> {
  let position = 2;
  for (let count = 0; count < mostSegments; count++) {
    const segment = await file.read(position, position + 4);
    if (segment.length < 4) throw incomplete("the JPEG ends before its image data");
    if (segment[0] !== 0xff) throw damaged("JPEG", "a marker is missing");
    const marker = segment[1];
    // Fill bytes may stand before a marker.
    if (marker === 0xff) position += 1;
    else {
      position += 2 + viewOf(segment).getUint16(2);
      if (marker === 0xda) return position;
    }
  }
  throw tooManyParts("JPEG");
}

const noTrailer = "the GIF does not end with its trailer";

/** Its blocks must lead to its trailer, by way of an image. */
export async function checkGif(file: FileBytes): Promise<FrameSize | undefined> {
  const blocks = new GifBlocks(file);
  let hasImage = false;
  let position = 13 + colourTableBytes(await blocks.byte(10));
  for (;;) {
    const kind = await blocks.byte(position);
    if (kind === 0x3b) break;
    if (kind === 0x21) position = (await blocks.skip(position + 2)).end;
    else if (kind === 0x2c) {
      const data = position + 10 + colourTableBytes(await blocks.byte(position + 9)) + 1;
      const { end, isEmpty } = await blocks.skip(data);
      hasImage ||= !isEmpty;
      position = end;
    } else throw damaged("GIF", "a block of an unknown kind is in it");
    if (file.size > longestGif && position > gifWindow && hasImage) {
      position = (await lengthWithoutPadding(file)) - 1;
      if ((await blocks.byte(position)) !== 0x3b) throw incomplete(noTrailer);
      break;
    }
  }
  if (!hasImage) throw incomplete("the GIF has no image");
  if (!(await isPaddingFrom(file, position + 1))) throw damaged("GIF", "something follows its trailer");
  return sizeOfImage(await file.read(0, headBytes["image/gif"] ?? 64));
}

function colourTableBytes(flags: number): number {
  return flags & 0x80 ? 3 * (2 << (flags & 7)) : 0;
}

/** Reads a GIF from its beginning on, window by window. */
class GifBlocks {
  readonly #file: FileBytes;
  #start = 0;
  #bytes: Uint8Array = new Uint8Array();

  constructor(file: FileBytes) {
    this.#file = file;
  }

  /** @throws UnusableFile behind the end */
  async byte(position: number): Promise<number> {
    const known = this.#bytes[position - this.#start];
    if (known !== undefined) return known;
    this.#bytes = await this.#file.read(position, position + gifWindow);
    this.#start = position;
    const first = this.#bytes[0];
    if (first === undefined) throw incomplete(noTrailer);
    return first;
  }

  /** Over the pieces of one block, of at most 255 bytes each, up to the empty one. */
  async skip(start: number): Promise<{ end: number; isEmpty: boolean }> {
    let position = start;
    for (;;) {
      // Without a turn of the event loop for each piece.
      const length = this.#bytes[position - this.#start] ?? (await this.byte(position));
      if (length === 0) return { end: position + 1, isEmpty: position === start };
      position += 1 + length;
      // A single block may be the rest of the file.
      if (this.#file.size > longestGif && position > gifWindow) return { end: position, isEmpty: false };
    }
  }
}

/** Its chunks must fill it, and one must hold an image. */
export async function checkWebp(file: FileBytes): Promise<FrameSize | undefined> {
  const count = new PartCount(mostWebpChunks, "WebP");
  let hasImage = false;
  for await (const { type, start, end } of riffChunks(file, "WebP", count)) {
    const least = smallestWebpImages[type];
    if (hasImage || least === undefined || end - start < least) continue;
    if (type !== "ANMF") hasImage = true;
    else {
      // A frame of an animation has its place in 16 bytes, then chunks of its own.
      for await (const chunk of chunksOf(file, { start: start + 16, end }, "WebP", count)) {
        hasImage ||= chunk.type.startsWith("VP8") && chunk.end > chunk.start;
      }
    }
  }
  if (!hasImage) throw incomplete("the WebP has no image");
  return sizeOfImage(await file.read(0, headBytes["image/webp"] ?? 64));
}

/** The chunks that hold an image, and how long they are at least: the header of the frame and a byte. */
const smallestWebpImages: Record<string, number> = { "VP8 ": 11, VP8L: 6, ANMF: 16 + 8 + 6 };

/** What its table of items tells of must lie in it. */
export async function checkAvif(file: FileBytes): Promise<FrameSize | undefined> {
  const boxes = await topLevelBoxes(file, "AVIF");
  const meta = boxes.find(({ type }) => type === "meta");
  if (!meta) throw damaged("AVIF", "it has no meta box");
  if (meta.end - meta.start > longestMeta) throw tooManyParts("AVIF");
  const table = await file.read(meta.start + 4, meta.end);
  const parts = boxesOfMeta(table);
  const media = boxes.filter(({ type }) => type === "mdat");
  const inFile = { start: media[0]?.start ?? 0, end: media.at(-1)?.end ?? 0 };
  const inMeta = { start: 0, end: (parts.get("idat")?.end ?? 0) - (parts.get("idat")?.start ?? 0) };
  let bytes = 0;
  for (const { start, end, isInMeta } of extentsOf(table, parts.get("iloc"))) {
    const room = isInMeta ? inMeta : inFile;
    if (end > start && (start < room.start || end > room.end)) {
      throw incomplete("the AVIF tells of image data that is not in it");
    }
    bytes += end - start;
  }
  if (bytes === 0) throw incomplete("the AVIF has no image data");
  return sizeOfImage(await file.read(0, headBytes["image/avif"] ?? 64));
}

function boxesOfMeta(table: Uint8Array): Map<string, Stretch> {
  const count = new PartCount(mostMetaEntries, "AVIF");
  const parts = new Map<string, Stretch>();
  const view = viewOf(table);
  for (let at = 0; at + 8 <= table.length;) {
    count.add();
    const length = view.getUint32(at);
    if (length < 8 || at + length > table.length) throw damaged("AVIF", "its meta box cannot be read");
    parts.set(ascii(table, at + 4, at + 8), { start: at + 8, end: at + length });
    at += length;
  }
  return parts;
}

/** Where the items lie: in the file, or in the meta box itself. */
function* extentsOf(
  table: Uint8Array,
  iloc: Stretch | undefined,
): Generator<Stretch & { isInMeta: boolean }> {
  if (!iloc) throw damaged("AVIF", "it does not say where its image lies");
  const count = new PartCount(mostMetaEntries, "AVIF");
  let at = iloc.start;
  const next = (bytes: number): number => {
    if (at + bytes > iloc.end) throw damaged("AVIF", "its table of items cannot be read");
    let value = 0;
    for (const end = at + bytes; at < end; at++) value = value * 256 + (table[at] ?? 0);
    return value;
  };
  const version = next(1);
  next(3);
  const sizes = next(2);
  const [offsetBytes, lengthBytes, baseBytes] = [sizes >> 12, (sizes >> 8) & 15, (sizes >> 4) & 15];
  const indexBytes = version === 0 ? 0 : sizes & 15;
  for (let items = next(version < 2 ? 2 : 4); items > 0; items--) {
    count.add();
    next(version < 2 ? 2 : 4);
    const isInMeta = version > 0 && (next(2) & 15) === 1;
    next(2);
    const base = next(baseBytes);
    for (let extents = next(2); extents > 0; extents--) {
      count.add();
      next(indexBytes);
      const start = base + next(offsetBytes);
      yield { start, end: start + next(lengthBytes), isInMeta };
    }
  }
}
