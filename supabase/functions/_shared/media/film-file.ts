import {
  ascii,
  damaged,
  type FileBytes,
  incomplete,
  type Part,
  PartCount,
  type Stretch,
  tooManyParts,
  viewOf,
} from "./file-parts.ts";
import type { FrameSize } from "./picture-size.ts";
import { chunksOf, riffChunks } from "./riff.ts";

/** Boxes that a film has beside each other: some six, and two for each fragment. */
const mostBoxes = 512;
/** A table of contents takes some 10 bytes a frame: this is a film of hours. */
const longestContents = 8 * 1024 * 1024;
const longestFragmentHead = 1024 * 1024;
/** Of a table of contents, at every depth. A track takes some 20. */
const mostContentBoxes = 4096;
const mostTracks = 64;
/** Elements of a Matroska segment that are looked at before its first frame. */
const mostElements = 512;
const longestTracksElement = 1024 * 1024;

/** MP4 and QuickTime: the frames that the table of contents tells of must lie within the file. */
export async function checkFilm(file: FileBytes): Promise<FrameSize | undefined> {
  const boxes = await topLevelBoxes(file, "video");
  const [contents, second] = boxes.filter(({ type }) => type === "moov");
  if (!contents) throw incomplete("the video has no moov box, which is its table of contents");
  if (second) throw damaged("video", "it has two tables of contents");
  const media = boxes.filter(({ type }) => type === "mdat");
  if (media.length === 0) throw incomplete("the video has no mdat box, which holds its frames");

  const movie = await readContents(file, contents, longestContents);
  const defaults = new Map<number, number>();
  const count = new PartCount(mostContentBoxes, "video");
  const tracks: Track[] = [];
  for (const box of boxesIn(movie, whole(movie), count)) {
    if (box.type === "mvex") {
      for (const { type, start, end } of boxesIn(movie, box, count)) {
        if (type === "trex" && end - start >= 24) {
          defaults.set(viewOf(movie).getUint32(start + 4), viewOf(movie).getUint32(start + 16));
        }
      }
    }
    if (box.type !== "trak") continue;
    if (tracks.length === mostTracks) throw tooManyParts("video");
    tracks.push(readTrack(movie, box, count));
  }
  const films = tracks.filter(({ isVideo }) => isVideo);
  if (films.length === 0) return undefined;

  const held = media.reduce((sum, { start, end }) => sum + end - start, 0);
  const [first, last] = [media[0]?.start ?? 0, media.at(-1)?.end ?? 0];
  let frames = 0;
  for (const { bytes, samples, from, to } of films) {
    frames += bytes;
    if (samples > 0 && (from < first || to > last)) {
      throw incomplete("the video's table of contents tells of frames that are not in it");
    }
  }
  if (frames > held) throw incomplete(`the video has ${held} bytes of frames; its table tells of ${frames}`);
  frames += await framesInFragments(file, boxes, defaults);
  if (frames === 0) throw incomplete("the video has no frames");
  return films.map(({ size }) => size).reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a));
}

interface Track {
  isVideo: boolean;
  size: FrameSize;
  samples: number;
  /** All its samples. */
  bytes: number;
  /** From the first byte of a sample to the last. */
  from: number;
  to: number;
}

const trackParents = new Set(["mdia", "minf", "stbl"]);

function readTrack(movie: Uint8Array, track: Stretch, count: PartCount): Track {
  const found = new Map<string, Part>();
  const open: Stretch[] = [track];
  for (let parent = open.pop(); parent; parent = open.pop()) {
    for (const box of boxesIn(movie, parent, count)) {
      // A track has one of each; `hdlr` may stand in `minf` too, where it means something else.
      if (!found.has(box.type)) found.set(box.type, box);
      if (trackParents.has(box.type)) open.push(box);
    }
  }
  const box = (type: string) => {
    const { start, end } = found.get(type) ?? { start: 0, end: 0 };
    return movie.subarray(start, end);
  };
  const isVideo = ascii(box("hdlr"), 8, 12) === "vide";
  const description = box("stsd");
  const size =
    isVideo && description.length >= 44
      ? { width: viewOf(description).getUint16(40), height: viewOf(description).getUint16(42) }
      : { width: 0, height: 0 };
  return { isVideo, size, ...placesOf(box) };
}

/** Where the samples of a track lie: one pass over each of its tables, whose lengths are held against their boxes. */
function placesOf(box: (type: string) => Uint8Array): Omit<Track, "isVideo" | "size"> {
  const [samples, sizeOf] = sampleSizes(box("stsz"), box("stz2"));
  const isLong = box("stco").length === 0;
  const chunks = box(isLong ? "co64" : "stco");
  const chunkCount = tableLength(chunks, 8, isLong ? 8 : 4);
  const runs = box("stsc");
  const runCount = tableLength(runs, 8, 12);
  const [chunkView, runView] = [viewOf(chunks), viewOf(runs)];
  let [bytes, from, to, sample, run] = [0, Infinity, 0, 0, -1];
  for (let chunk = 0; chunk < chunkCount && sample < samples; chunk++) {
    while (run + 1 < runCount && runView.getUint32(8 + 12 * (run + 1)) <= chunk + 1) run += 1;
    const wanted = run < 0 ? 0 : runView.getUint32(12 + 12 * run);
    const next = Math.min(samples, sample + wanted);
    let length = 0;
    if (typeof sizeOf === "number") length = (next - sample) * sizeOf;
    else for (; sample < next; sample++) length += sizeOf(sample);
    sample = next;
    const offset = isLong
      ? Number(chunkView.getBigUint64(8 + 8 * chunk))
      : chunkView.getUint32(8 + 4 * chunk);
    bytes += length;
    from = Math.min(from, offset);
    to = Math.max(to, offset + length);
  }
  if (sample < samples) throw incomplete("the video's table of contents has frames that lie nowhere");
  return { samples, bytes, from, to };
}

/** How many samples there are, and the size of all or of each. */
function sampleSizes(sizes: Uint8Array, small: Uint8Array): [number, number | ((sample: number) => number)] {
  if (small.length > 0) {
    const bits = small[7] ?? 0;
    if (bits !== 4 && bits !== 8 && bits !== 16) throw damaged("video", "it has a table of unknown sizes");
    const view = viewOf(small);
    const samples = tableLength(small, 12, bits / 8);
    if (bits === 16) return [samples, (sample) => view.getUint16(12 + 2 * sample)];
    if (bits === 8) return [samples, (sample) => view.getUint8(12 + sample)];
    return [samples, (sample) => (view.getUint8(12 + (sample >> 1)) >> (sample % 2 ? 0 : 4)) & 15];
  }
  if (sizes.length < 12) return [0, 0];
  const view = viewOf(sizes);
  const all = view.getUint32(4);
  if (all !== 0) return [view.getUint32(8), all];
  return [tableLength(sizes, 12, 4), (sample) => view.getUint32(12 + 4 * sample)];
}

/** The number of entries, which stands before them. @throws UnusableFile where the box cannot hold as many */
function tableLength(box: Uint8Array, start: number, entryBytes: number): number {
  if (box.length < start) return 0;
  const entries = viewOf(box).getUint32(start - 4);
  if (start + entries * entryBytes > box.length) throw damaged("video", "a table is longer than its box");
  return entries;
}

/** The bytes that fragments tell of, each held against the `mdat` boxes that follow it. */
async function framesInFragments(
  file: FileBytes,
  boxes: readonly Part[],
  defaults: Map<number, number>,
): Promise<number> {
  let [frames, told, held] = [0, 0, 0];
  const close = (): void => {
    if (told > held)
      throw incomplete(`a fragment of the video has ${held} bytes of frames instead of ${told}`);
    frames += told;
  };
  const count = new PartCount(mostContentBoxes, "video");
  for (const box of boxes) {
    if (box.type === "mdat") held += box.end - box.start;
    if (box.type !== "moof") continue;
    close();
    held = 0;
    const head = await readContents(file, box, longestFragmentHead);
    told = 0;
    for (const track of boxesIn(head, whole(head), count)) {
      if (track.type === "traf") told += bytesOfRun(head, track, defaults, count);
    }
  }
  close();
  return frames;
}

function bytesOfRun(
  head: Uint8Array,
  track: Stretch,
  defaults: Map<number, number>,
  count: PartCount,
): number {
  let [bytes, usual] = [0, 0];
  const view = viewOf(head);
  for (const { type, start, end } of boxesIn(head, track, count)) {
    if (end - start < 8 || (type !== "tfhd" && type !== "trun")) continue;
    const flags = view.getUint32(start) & 0xff_ff_ff;
    const has = (flag: number): number => (flags & flag ? 1 : 0);
    if (type === "tfhd") {
      const at = start + 8 + 8 * has(1) + 4 * has(2) + 4 * has(8);
      usual =
        has(0x10) && at + 4 <= end ? view.getUint32(at) : (defaults.get(view.getUint32(start + 4)) ?? 0);
      continue;
    }
    const samples = view.getUint32(start + 4);
    const entryBytes = 4 * (has(0x100) + has(0x200) + has(0x400) + has(0x800));
    const first = start + 8 + 4 * has(1) + 4 * has(4);
    if (first + samples * entryBytes > end) throw damaged("video", "a table is longer than its box");
    // Without sizes nothing bounds how many there are said to be.
    if (!has(0x200) && usual === 0 && samples > 0)
      throw damaged("video", "a fragment has frames without a size");
    if (!has(0x200)) bytes += samples * usual;
    else
      for (let at = first + 4 * has(0x100), left = samples; left > 0; left--, at += entryBytes)
        bytes += view.getUint32(at);
  }
  return bytes;
}

function whole(bytes: Uint8Array): Stretch {
  return { start: 0, end: bytes.length };
}

async function readContents(file: FileBytes, { start, end }: Stretch, longest: number): Promise<Uint8Array> {
  if (end - start > longest) throw tooManyParts("video");
  return await file.read(start, end);
}

/** The boxes within a box that is in memory. */
function* boxesIn(bytes: Uint8Array, { start, end }: Stretch, count: PartCount): Generator<Part> {
  const view = viewOf(bytes);
  // QuickTime may end a list with a length of 0, for which less than a header is left.
  for (let at = start; at + 8 <= end;) {
    count.add();
    const length = view.getUint32(at);
    if (length < 8 || at + length > end) {
      throw damaged("video", `a box of its table of contents has a length of ${length} bytes`);
    }
    yield { type: ascii(bytes, at + 4, at + 8), start: at + 8, end: at + length };
    at += length;
  }
}

/**
 * The boxes of an MP4, QuickTime or AVIF file, which must fill it to the byte. A box of length 0 reaches to its end.
 * @throws UnusableFile
 */
export async function topLevelBoxes(file: FileBytes, name: string): Promise<Part[]> {
  const boxes: Part[] = [];
  let position = 0;
  while (position < file.size) {
    if (boxes.length === mostBoxes) throw tooManyParts(name);
    const header = await file.read(position, position + 16);
    if (header.length < 8) throw incomplete(`the ${name} ends within the header of a box`);
    const view = viewOf(header);
    let [length, headerBytes] = [view.getUint32(0), 8];
    if (length === 1 && header.length === 16) [length, headerBytes] = [Number(view.getBigUint64(8)), 16];
    else if (length === 0) length = file.size - position;
    if (length < headerBytes) throw damaged(name, `a box has a length of ${length} bytes`);
    if (position + length > file.size) {
      const missing = position + length - file.size;
      throw incomplete(`the ${name} ends ${missing} bytes before the end of its last box`);
    }
    boxes.push({ type: ascii(header, 4, 8), start: position + headerBytes, end: position + length });
    position += length;
  }
  return boxes;
}

interface Element extends Stretch {
  id: number;
}

const ids = {
  segment: 0x18_53_80_67,
  tracks: 0x16_54_ae_6b,
  cluster: 0x1f_43_b6_75,
  track: 0xae,
  video: 0xe0,
  width: 0xb0,
  height: 0xba,
  block: 0xa3,
  blockGroup: 0xa0,
};

/**
 * WebM and MKV: a header, then a segment, whose length is unknown where the film was written while it was made. It is followed as
 * far as its first frame.
 */
export async function checkMatroska(file: FileBytes): Promise<FrameSize | undefined> {
  const header = await elementAt(file, 0);
  const segment = header && (await elementAt(file, header.end));
  if (segment?.id !== ids.segment) throw incomplete("the video has no segment after its header");
  if (segment.end > file.size) {
    throw incomplete(`the video ends ${segment.end - file.size} bytes before the end of its segment`);
  }
  const count = new PartCount(mostElements, "video");
  let size: FrameSize | undefined;
  let hasFrame = false;
  let position = segment.start;
  while (position < segment.end && !(size && hasFrame)) {
    count.add();
    const element = await elementAt(file, position, segment.end);
    if (!element || element.end > segment.end)
      throw incomplete("the video ends within a part of its segment");
    if (element.id === ids.tracks)
      size = sizeOfTracks(await readContents(file, element, longestTracksElement));
    // Of a cluster whose length is unknown, only its first frame is looked for, and what comes behind belongs to it.
    if (element.id === ids.cluster && !hasFrame) hasFrame = await holdsFrame(file, element, count);
    position = element.end;
  }
  if (!hasFrame) throw incomplete("the video has no frames");
  return size;
}

async function holdsFrame(file: FileBytes, cluster: Element, count: PartCount): Promise<boolean> {
  for (let position = cluster.start; position < cluster.end;) {
    count.add();
    const element = await elementAt(file, position, cluster.end);
    if (!element || element.end > cluster.end) throw incomplete("the video ends within its first frame");
    // Before the frame stand its track, its time and its flags.
    const isBlock = element.id === ids.block || element.id === ids.blockGroup;
    if (isBlock && element.end - element.start > 4) return true;
    position = element.end;
  }
  return false;
}

/** The largest of the tracks' frames. */
function sizeOfTracks(tracks: Uint8Array): FrameSize | undefined {
  const count = new PartCount(mostContentBoxes, "video");
  let [size, found]: [FrameSize | undefined, number] = [undefined, 0];
  for (const track of elementsIn(tracks, whole(tracks), count)) {
    if (track.id !== ids.track) continue;
    found += 1;
    if (found > mostTracks) throw tooManyParts("video");
    for (const video of elementsIn(tracks, track, count)) {
      if (video.id !== ids.video) continue;
      let [width, height] = [0, 0];
      for (const { id, start, end } of elementsIn(tracks, video, count)) {
        if (id === ids.width) width = unsigned(tracks, start, end);
        if (id === ids.height) height = unsigned(tracks, start, end);
      }
      if (!size || width * height > size.width * size.height) size = { width, height };
    }
  }
  return size;
}

function* elementsIn(bytes: Uint8Array, { start, end }: Stretch, count: PartCount): Generator<Element> {
  for (let at = start; at < end;) {
    count.add();
    const element = parseElement(bytes.subarray(at, at + 12), at, end);
    if (!element || element.end > end) throw damaged("video", "its list of tracks cannot be read");
    yield element;
    at = element.end;
  }
}

async function elementAt(
  file: FileBytes,
  position: number,
  farthest = file.size,
): Promise<Element | undefined> {
  return parseElement(await file.read(position, position + 12), position, farthest);
}

/** An EBML element by the bytes that it begins with; one of unknown length reaches as far as it can. */
function parseElement(bytes: Uint8Array, position: number, farthest: number): Element | undefined {
  const idBytes = Math.clz32(bytes[0] ?? 0) - 23;
  if (idBytes > 4) return undefined;
  const first = bytes[idBytes] ?? 0;
  const lengthBytes = Math.clz32(first) - 23;
  const headerBytes = idBytes + lengthBytes;
  if (lengthBytes > 8 || headerBytes > bytes.length) return undefined;
  const mask = 0xff >> lengthBytes;
  let length = first & mask;
  let isOpen = length === mask;
  for (const byte of bytes.subarray(idBytes + 1, headerBytes)) {
    length = length * 256 + byte;
    isOpen &&= byte === 0xff;
  }
  const start = position + headerBytes;
  return { id: unsigned(bytes, 0, idBytes), start, end: isOpen ? farthest : start + length };
}

function unsigned(bytes: Uint8Array, start: number, end: number): number {
  return bytes.subarray(start, end).reduce((value, byte) => value * 256 + byte, 0);
}

/** AVI: headers, and a list of frames that is not empty. */
export async function checkAvi(file: FileBytes): Promise<FrameSize | undefined> {
  let size: FrameSize | undefined;
  let hasFrame = false;
  const count = new PartCount(mostBoxes, "AVI");
  for await (const { type, start, end } of riffChunks(file, "AVI", count)) {
    if (type !== "LIST" || end - start < 4) continue;
    const list = await file.read(start, start + 4 + 8 + 40);
    const name = ascii(list, 0, 4);
    if (name === "hdrl" && ascii(list, 4, 8) === "avih" && list.length === 52) {
      size = { width: viewOf(list).getUint32(44, true), height: viewOf(list).getUint32(48, true) };
    }
    if (name === "movi" && !hasFrame) {
      for await (const chunk of chunksOf(file, { start: start + 4, end }, "AVI", count)) {
        // A list within the list begins with its name.
        hasFrame = chunk.end - chunk.start > (chunk.type === "LIST" ? 4 + 8 : 0) && chunk.type !== "JUNK";
        if (hasFrame) break;
      }
    }
  }
  if (!hasFrame) throw incomplete("the AVI has no movi list, or no frames in it");
  return size;
}
