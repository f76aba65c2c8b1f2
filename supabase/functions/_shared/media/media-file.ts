import { signatureType } from "./content-type.ts";
import {
  type FrameSize,
  headBytes,
  isSize,
  isTooLarge,
  longestSide,
  mostPixels,
  sizeOfImage,
} from "./picture-size.ts";

/** The bytes of a file, read in parts, so that a large file is never in memory. */
export interface FileBytes {
  readonly size: number;
  /** The bytes from `start` up to `end`, which is not included; fewer where the file ends before. */
  read(start: number, end: number): Promise<Uint8Array>;
}

export type Medium = "image" | "video";

export interface MediaFile {
  /** Null for a file of another kind, such as weights. */
  medium: Medium | null;
  contentType: string;
  width: number | null;
  height: number | null;
}

export type UnusableReason = "empty" | "damaged" | "incomplete" | "too_large" | "too_many_parts";

/** The file is not what it claims to be. The message continues a sentence that begins with the file's name. */
export class UnusableFile extends Error {
  readonly reason: UnusableReason;

  constructor(reason: UnusableReason, problem: string, options?: ErrorOptions) {
    super(problem, options);
    this.name = "UnusableFile";
    this.reason = reason;
  }
}

/** How much of a file's end is searched for the mark that ends it. Some programs append a few bytes of their own. */
const tailBytes = 64 * 1024;
/** Boxes that a film has beside each other: some six, and two for each fragment. */
const mostBoxes = 512;
/** Segments before the image data of a JPEG: profiles and notes take some twenty. */
const mostSegments = 256;

export function bytesInMemory(bytes: Uint8Array): FileBytes {
  return { size: bytes.byteLength, read: (start, end) => Promise.resolve(bytes.subarray(start, end)) };
}

/**
 * What a file is, by its signature, and whether its container is complete and its frames have a size that can be shown. Reads the
 * head, the tail and the table of contents; nothing is decoded. A file without a known signature has no medium.
 * @throws UnusableFile, or what `read` throws
 */
export async function inspectMedia(file: FileBytes): Promise<MediaFile> {
  if (file.size === 0) throw new UnusableFile("empty", "is empty (0 bytes)");
  const head = await file.read(0, 64);
  const contentType = typeOf(head);
  const check = contentType === undefined ? undefined : checks[contentType];
  if (contentType === undefined || !check) {
    return { medium: null, contentType: "application/octet-stream", width: null, height: null };
  }
  const size = await check(file);
  if (!isSize(size?.width) || !isSize(size?.height)) {
    throw new UnusableFile("damaged", `is a damaged ${nameOf(contentType)}: it has no width and height`);
  }
  if (isTooLarge(size)) {
    throw new UnusableFile(
      "too_large",
      `is ${size.width} × ${size.height} pixels; at most ${longestSide} a side and ${mostPixels / 1e6} megapixels are accepted`,
    );
  }
  const medium = contentType.startsWith("image/") ? "image" : "video";
  return { medium, contentType, width: size.width, height: size.height };
}

/** What storage shows in place, and the films of workers that it only saves. */
function typeOf(head: Uint8Array): string | undefined {
  const known = signatureType(head);
  if (known) return known;
  if (ascii(head, 0, 4) === "\x1a\x45\xdf\xa3" && ascii(head, 0, 64).includes("matroska")) {
    return "video/x-matroska";
  }
  return ascii(head, 0, 4) === "RIFF" && ascii(head, 8, 12) === "AVI " ? "video/x-msvideo" : undefined;
}

type Check = (file: FileBytes) => Promise<FrameSize | undefined>;

const checks: Record<string, Check> = {
  "image/png": checkPng,
  "image/jpeg": checkJpeg,
  "image/gif": checkGif,
  "image/webp": checkWebp,
  "image/avif": checkAvif,
  "video/mp4": checkFilm,
  "video/quicktime": checkFilm,
  "video/webm": checkMatroska,
  "video/x-matroska": checkMatroska,
  "video/x-msvideo": checkAvi,
};

function nameOf(contentType: string): string {
  return (contentType.split("/")[1] ?? "file").replace("x-", "").toUpperCase();
}

async function checkPng(file: FileBytes): Promise<FrameSize | undefined> {
  const tail = await tailOf(file);
  // An empty chunk, whose checksum is therefore always the same.
  if (!ascii(tail, 0, tail.length).includes("\0\0\0\0IEND\xaeB`\x82")) {
    throw incomplete("the PNG does not end with an IEND chunk");
  }
  return sizeOfImage(await file.read(0, headBytes["image/png"] ?? 64));
}

async function checkJpeg(file: FileBytes): Promise<FrameSize | undefined> {
  const data = await jpegDataStart(file);
  const tailStart = Math.max(data, file.size - tailBytes);
  const tail = await file.read(tailStart, file.size);
  // Within the data, 0xFF is always followed by a zero or the number of a restart.
  if (!ascii(tail, 0, tail.length).includes("\xff\xd9")) {
    throw incomplete("the JPEG does not end with an EOI marker");
  }
  return sizeOfImage(await file.read(0, Math.min(data, headBytes["image/jpeg"])));
}

/** Where the image data of a JPEG begins, after its segments. */
async function jpegDataStart(file: FileBytes): Promise<number> {
  let position = 2;
  for (let count = 0; count < mostSegments; count++) {
    const segment = await file.read(position, position + 4);
    if (segment.length < 4) throw incomplete("the JPEG ends before its image data");
    if (segment[0] !== 0xff) throw new UnusableFile("damaged", "is a damaged JPEG: a marker is missing");
    const marker = segment[1];
    // Fill bytes may stand before a marker.
    if (marker === 0xff) position += 1;
    else {
      position += 2 + uint16(segment, 2);
      if (marker === 0xda) return position;
    }
  }
  throw tooManyParts("JPEG");
}

async function checkGif(file: FileBytes): Promise<FrameSize | undefined> {
  const tail = await tailOf(file);
  const last = tail.findLastIndex((byte) => byte !== 0);
  if (file.size < 14 || tail[last] !== 0x3b) throw incomplete("the GIF does not end with its trailer");
  return sizeOfImage(await file.read(0, headBytes["image/gif"] ?? 64));
}

async function checkWebp(file: FileBytes): Promise<FrameSize | undefined> {
  const head = await file.read(0, headBytes["image/webp"] ?? 64);
  checkRiff(head, file.size, "WebP");
  return sizeOfImage(head);
}

async function checkAvi(file: FileBytes): Promise<FrameSize | undefined> {
  const head = await file.read(0, 128);
  checkRiff(head, file.size, "AVI");
  if (ascii(head, 24, 28) !== "avih" || head.length < 72) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return { width: view.getUint32(64, true), height: view.getUint32(68, true) };
}

/** A RIFF file says its length in its first eight bytes. */
function checkRiff(head: Uint8Array, size: number, name: string): void {
  if (head.length < 12) throw incomplete(`the ${name} ends within its header`);
  const length = new DataView(head.buffer, head.byteOffset).getUint32(4, true) + 8;
  if (length > size) throw incomplete(`the ${name} says that it has ${length} bytes, and has ${size}`);
}

async function checkAvif(file: FileBytes): Promise<FrameSize | undefined> {
  const boxes = await topLevelBoxes(file, "AVIF");
  if (!boxes.has("meta")) throw new UnusableFile("damaged", "is a damaged AVIF: it has no meta box");
  const head = await file.read(0, headBytes["image/avif"] ?? 64);
  // Small images may lie within the meta box.
  if (!boxes.has("mdat") && !ascii(head, 0, head.length).includes("idat")) {
    throw incomplete("the AVIF has no mdat box, which holds its image");
  }
  return sizeOfImage(head);
}

async function checkFilm(file: FileBytes): Promise<FrameSize | undefined> {
  const boxes = await topLevelBoxes(file, "video");
  if (!boxes.has("moov")) throw incomplete("the video has no moov box, which is its table of contents");
  if (!boxes.has("mdat")) throw incomplete("the video has no mdat box, which holds its frames");
  return await sizeOfVideo(file);
}

/**
 * The boxes of an MP4, QuickTime or AVIF file, which must fill it to the byte. A box of length 0 reaches to its end.
 * @throws UnusableFile
 */
async function topLevelBoxes(file: FileBytes, name: string): Promise<Set<string>> {
  const types = new Set<string>();
  let position = 0;
  for (let count = 0; position < file.size; count++) {
    if (count === mostBoxes) throw tooManyParts(name);
    const header = await file.read(position, position + 16);
    if (header.length < 8) throw incomplete(`the ${name} ends within the header of a box`);
    const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
    const type = ascii(header, 4, 8);
    let length = view.getUint32(0);
    if (length === 1 && header.length === 16) length = Number(view.getBigUint64(8));
    else if (length === 0) length = file.size - position;
    if (length < 8) {
      throw new UnusableFile("damaged", `is a damaged ${name}: a box has a length of ${length} bytes`);
    }
    if (position + length > file.size) {
      const missing = position + length - file.size;
      throw incomplete(`the ${name} ends ${missing} bytes before the end of its last box`);
    }
    types.add(type);
    position += length;
  }
  return types;
}

/** EBML: a header, then a segment, whose length is unknown where the film was written while it was made. */
async function checkMatroska(file: FileBytes): Promise<FrameSize | undefined> {
  const head = await file.read(0, 4096);
  const header = elementAt(head, 4);
  const segment = header && header.length !== undefined ? header.start + header.length : undefined;
  const marks = segment === undefined ? undefined : await file.read(segment, segment + 12);
  if (segment === undefined || !marks || ascii(marks, 0, 4) !== "\x18\x53\x80\x67") {
    throw incomplete("the video has no segment after its header");
  }
  const content = elementAt(marks, 4);
  if (!content) throw incomplete("the video ends within the header of its segment");
  const end = content.length === undefined ? file.size : segment + content.start + content.length;
  if (end > file.size)
    throw incomplete(`the video ends ${end - file.size} bytes before the end of its segment`);
  return await sizeOfVideo(file);
}

/** The length of an EBML element, from where its length stands; undefined while it is unknown. */
function elementAt(
  bytes: Uint8Array,
  position: number,
): { start: number; length: number | undefined } | undefined {
  const first = bytes[position];
  if (!first) return undefined;
  const width = Math.clz32(first) - 23;
  if (position + width > bytes.length) return undefined;
  let length = first & (0xff >> width);
  let isUnknown = length === 0xff >> width;
  for (const byte of bytes.subarray(position + 1, position + width)) {
    length = length * 256 + byte;
    isUnknown &&= byte === 0xff;
  }
  return { start: position + width, length: isUnknown ? undefined : length };
}

/** The size of a film's frames, as its table of contents has it. */
async function sizeOfVideo(file: FileBytes): Promise<FrameSize | undefined> {
  // Loaded when it is first needed: images, which are the most, do without.
  const { CustomSource, Input, MATROSKA, MP4, QTFF, WEBM } = await import("mediabunny");
  let failure: unknown;
  const source = new CustomSource({
    getSize: () => file.size,
    async read(start, end) {
      try {
        return await file.read(start, end);
      } catch (error) {
        failure = error;
        throw error;
      }
    },
  });
  const input = new Input({ source, formats: [MP4, QTFF, WEBM, MATROSKA] });
  try {
    const track = await input.getPrimaryVideoTrack();
    return track ? { width: track.codedWidth, height: track.codedHeight } : undefined;
  } catch (error) {
    if (failure !== undefined) throw failure;
    throw new UnusableFile("damaged", "is a damaged video: its table of contents cannot be read", {
      cause: error,
    });
  } finally {
    input.dispose();
  }
}

async function tailOf(file: FileBytes): Promise<Uint8Array> {
  return await file.read(Math.max(0, file.size - tailBytes), file.size);
}

function incomplete(detail: string): UnusableFile {
  return new UnusableFile("incomplete", `is not complete: ${detail}`);
}

function tooManyParts(name: string): UnusableFile {
  return new UnusableFile(
    "too_many_parts",
    `cannot be checked: the ${name} has too many parts. Write it again without fragments`,
  );
}

function uint16(bytes: Uint8Array, position: number): number {
  return (bytes[position] ?? 0) * 256 + (bytes[position + 1] ?? 0);
}

/** One character a byte; a text search is the fastest search for bytes that both runtimes have. */
function ascii(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let position = start; position < Math.min(end, bytes.length); position += 8192) {
    text += String.fromCharCode(...bytes.subarray(position, Math.min(position + 8192, end, bytes.length)));
  }
  return text;
}
