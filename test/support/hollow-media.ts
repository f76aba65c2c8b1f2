import { crc32, deflateSync } from "node:zlib";
import { film } from "./film.ts";
import type { MediaSample } from "./media-samples.ts";
import { png } from "./png.ts";

/** Files with the right beginning and end and nothing, or not all, between them. */
export function hollowFiles(samples: Record<string, MediaSample>): Record<string, Uint8Array> {
  const of = (name: string) => Buffer.from(samples[name]?.bytes ?? []);
  const changed = (name: string, at: number, ...bytes: number[]) => {
    const file = of(name);
    file.set(bytes, at < 0 ? file.length + at : at);
    return file;
  };
  const zeros = Buffer.alloc(40);
  const webp = of("webp");
  const fast = of("mp4 with its table of contents first");
  const mdat = fast.indexOf("mdat") - 4;
  const open = Buffer.from(fast);
  open.writeUInt32BE(0, mdat);
  const fragments = of("mp4 in fragments");
  const firstMdat = fragments.indexOf("mdat") - 4;
  const gif = gifOf(gifImage(100, 0x3b)).subarray(0, 100);
  const jpeg = of("jpeg");
  const scan = jpeg.indexOf(Buffer.from([0xff, 0xda]));
  const avi = of("avi");
  return {
    "a PNG without image data": pngOf(),
    "a PNG with an empty chunk of image data": pngOf(pngChunk("IDAT")),
    "half a PNG with its end appended": Buffer.concat([
      png({ width: 64, height: 64, colour: 0x12_34_56 }).subarray(0, 60),
      pngChunk("IEND"),
    ]),
    "a PNG whose image data is all zero": pngOf(pngChunk("IDAT", zeros)),
    "a PNG with a page behind it": Buffer.concat([png(), Buffer.from("<!doctype html><p>502</p>")]),
    "a PNG whose first chunk is not its header": Buffer.concat([
      png().subarray(0, 8),
      pngChunk("IDAT", deflateSync(zeros)),
      pngChunk("IEND"),
    ]),
    "a GIF of 14 bytes": Buffer.from("GIF89a\x10\0\x10\0\0\0\0;", "latin1"),
    "a GIF that is cut behind a byte that looks like its trailer": gif,
    "a GIF whose image is empty": gifOf(gifImage(0)),
    "a WebP that says that it has no bytes": changed("webp", 4, 0, 0, 0, 0),
    "a WebP that is longer than it says": Buffer.concat([webp, Buffer.from("<html>")]),
    "a WebP with no more than a VP8X header": riff(
      "WEBP",
      riffChunk("VP8X", Buffer.from([0, 0, 0, 0, 15, 0, 0, 15, 0, 0])),
    ),
    "a WebP whose chunk is longer than the file": changed("webp", 16, 0xff),
    "a WebP with a frame of an animation that is empty": riff(
      "WEBP",
      riffChunk("VP8X", Buffer.from([2, 0, 0, 0, 15, 0, 0, 15, 0, 0])),
      riffChunk("ANMF", Buffer.alloc(16)),
    ),
    "an AVI of headers alone": riff("AVI ", avi.subarray(12, 88)),
    "an AVI whose list of frames is empty": riff(
      "AVI ",
      avi.subarray(12, 88),
      riffChunk("LIST", Buffer.from("movi")),
    ),
    "an AVI that says that it has no bytes": changed("avi", 4, 0, 0, 0, 0),
    "an AVI of 128 bytes of headers": Buffer.concat([changed("avi", 4, 0, 0, 0, 0).subarray(0, 88), zeros]),
    "an AVIF with an empty mdat box": withoutMedia(of("avif")),
    "an AVIF whose image lies behind its end": changed(
      "avif",
      of("avif").indexOf("iloc") + 22,
      0x7f,
      0xff,
      0xff,
      0xff,
    ),
    "a JPEG without image data": Buffer.concat([
      jpeg.subarray(0, scan + 2 + jpeg.readUInt16BE(scan + 2)),
      Buffer.from([0xff, 0xd9]),
    ]),
    "a JPEG of its two marks": Buffer.from([0xff, 0xd8, 0xff, 0xd9]),
    "a film without frames": withContents(videoTrack({ samples: 0 })),
    "a film whose mdat box is empty": withoutMedia(Buffer.from(withContents(videoTrack()))),
    "a film with more frames than its mdat box holds": withContents(videoTrack({ samples: 100_000 })),
    "a film whose frames all lie in one place": withContents(videoTrack({ samples: 4, chunks: 4 })),
    "a film whose frames lie behind its end": withContents(videoTrack({ offset: 1_000_000 })),
    "a film that says it has four billion frames": withContents(videoTrack({ samples: 0xff_ff_ff_ff })),
    "a film whose frames lie nowhere": withContents(videoTrack({ chunks: 0 })),
    "a film with no end that was cut": open.subarray(0, -5),
    "a film in fragments without its frames": Buffer.concat([fragments.subarray(0, firstMdat), box("mdat")]),
    "a film in fragments with half of its frames": Buffer.concat([
      fragments.subarray(0, firstMdat),
      box("mdat", Buffer.alloc(3)),
    ]),
    "a film in fragments with endless frames of no size": Buffer.concat([
      film(),
      box("moof", box("traf", box("tfhd", Buffer.alloc(8)), box("trun", numbers(0, 0xff_ff_ff_ff)))),
    ]),
    "a film with sound alone": withContents(videoTrack({ handler: "soun" })),
    "an MKV without frames": matroska(
      tracks(),
      element([0x1f, 0x43, 0xb6, 0x75], element([0xe7], Buffer.from([0]))),
    ),
    "an MKV without clusters": matroska(tracks()),
    "an MKV without tracks": matroska(cluster()),
  };
}

/** Films of some 10 MB that are made to keep a reader busy. */
export function endlessFilms(): Record<string, Uint8Array> {
  const nested = (depth: number): Buffer => {
    const boxes = Buffer.alloc(8 * depth);
    for (let level = 0; level < depth; level++) {
      boxes.writeUInt32BE(8 * (depth - level), 8 * level);
      boxes.write("mdia", 8 * level + 4, "latin1");
    }
    return boxes;
  };
  const huge = Buffer.alloc(12);
  huge.writeUInt32BE(0xff_ff_ff_ff, 8);
  const fragment = box("moof", box("traf", box("tfhd", Buffer.alloc(8)), box("trun", huge.subarray(4))));
  return {
    "20,000 tracks": withContents(copies(20_000, videoTrack())),
    "2,000 tracks": withContents(copies(2_000, videoTrack())),
    "a million empty tracks": withContents(copies(1_000_000, emptyTrack())),
    "a million boxes": withContents(copies(1_000_000, box("free"))),
    "a million boxes beside each other": Buffer.concat([film(), copies(1_000_000, box("free"))]),
    "a million levels": withContents(box("trak", nested(1_000_000))),
    "a hundred thousand levels": withContents(box("trak", nested(100_000))),
    "samples without end": withContents(
      videoTrack({ sizes: Buffer.concat([huge, Buffer.alloc(7_000_000)]) }),
    ),
    "chunks and samples": withContents(videoTrack({ chunks: 900_000, samples: 900_000, size: 0 })),
    fragments: Buffer.concat([film(), copies(20_000, fragment)]),
    "a fragment of a million runs": Buffer.concat([
      film(),
      box("moof", box("traf", copies(600_000, box("trun", huge.subarray(4))))),
    ]),
    "Matroska: a million tracks": matroska(
      element([0x16, 0x54, 0xae, 0x6b], copies(1_000_000, element([0xae]))),
    ),
    "Matroska: a hundred thousand tracks": matroska(
      element([0x16, 0x54, 0xae, 0x6b], copies(100_000, element([0xae]))),
    ),
    "Matroska: a million clusters": matroska(tracks(), copies(1_000_000, element([0x1f, 0x43, 0xb6, 0x75]))),
    "Matroska: a million parts of a cluster": matroska(
      tracks(),
      element([0x1f, 0x43, 0xb6, 0x75], copies(1_000_000, element([0xe7]))),
    ),
    "Matroska: a million voids": matroska(copies(1_000_000, element([0xec]))),
    "AVI: a million lists": riff("AVI ", copies(800_000, riffChunk("LIST", Buffer.from("hdrl")))),
    "AVI: a million empty frames": riff(
      "AVI ",
      riffChunk("LIST", Buffer.from("movi"), copies(1_000_000, riffChunk("00dc"))),
    ),
    "AVI: a million parts": Buffer.concat(repeated(800_000, (index) => riff(index === 0 ? "AVI " : "AVIX"))),
  };
}

/** One after the other. */
export function copies(count: number, part: Uint8Array): Buffer {
  return Buffer.alloc(count * part.length, part);
}

function repeated<Value>(count: number, make: (index: number) => Value): Value[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

export function box(type: string, ...content: Uint8Array[]): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(8 + content.reduce((sum, { length }) => sum + length, 0), 0);
  header.write(type, 4, "latin1");
  return Buffer.concat([header, ...content]);
}

const fileType = box("ftyp", Buffer.from("isom\0\0\0\0", "latin1"));

/** A film of these tracks with 64 bytes of frames in front of its table of contents. */
export function withContents(...parts: Uint8Array[]): Uint8Array {
  return Buffer.concat([fileType, box("mdat", Buffer.alloc(64, 1)), box("moov", ...parts)]);
}

export function emptyTrack(): Buffer {
  return box("trak");
}

/** A track of 16 × 16 pixels. */
export function videoTrack({
  samples = 2,
  size = 32,
  chunks = 1,
  offset = fileType.length + 8,
  handler = "vide",
  sizes = numbers(0, size, samples),
}: {
  samples?: number;
  size?: number;
  chunks?: number;
  offset?: number;
  handler?: string;
  sizes?: Uint8Array;
} = {}): Buffer {
  const entry = Buffer.alloc(78);
  entry.writeUInt16BE(16, 24);
  entry.writeUInt16BE(16, 26);
  const table = box(
    "stbl",
    box("stsd", numbers(0, 1), box("avc1", entry)),
    box("stsz", size === 0 ? Buffer.concat([numbers(0, 0, samples), Buffer.alloc(4 * samples)]) : sizes),
    box("stsc", numbers(0, 1, 1, Math.ceil(samples / Math.max(1, chunks)), 1)),
    box("stco", Buffer.concat([numbers(0, chunks), copies(chunks, numbers(offset))])),
  );
  const kind = box("hdlr", numbers(0, 0), Buffer.from(handler, "latin1"), Buffer.alloc(12));
  return box("trak", box("mdia", kind, box("minf", table)));
}

function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
}

/** Its `mdat` box with nothing in it, everything else where it was. */
function withoutMedia(file: Buffer): Buffer {
  const start = file.indexOf("mdat") - 4;
  const length = file.readUInt32BE(start);
  return Buffer.concat([
    file.subarray(0, start),
    box("free", Buffer.alloc(length - 8)),
    box("mdat"),
    file.subarray(start + length),
  ]);
}

function riffChunk(type: string, ...content: Uint8Array[]): Buffer {
  const header = Buffer.alloc(8);
  header.write(type, 0, "latin1");
  const length = content.reduce((sum, part) => sum + part.length, 0);
  header.writeUInt32LE(length, 4);
  return Buffer.concat([header, ...content, Buffer.alloc(length % 2)]);
}

function riff(type: string, ...chunks: Uint8Array[]): Buffer {
  return riffChunk("RIFF", Buffer.from(type), ...chunks);
}

function element(id: number[], ...content: Uint8Array[]): Buffer {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  const size = length < 0x7f ? Buffer.from([0x80 | length]) : numbers(0x10_00_00_00 + length);
  return Buffer.concat([Buffer.from(id), size, ...content]);
}

function matroska(...content: Uint8Array[]): Buffer {
  const header = element([0x1a, 0x45, 0xdf, 0xa3], element([0x42, 0x82], Buffer.from("matroska")));
  return Buffer.concat([header, element([0x18, 0x53, 0x80, 0x67], ...content)]);
}

function tracks(): Buffer {
  const size = [element([0xb0], Buffer.from([16])), element([0xba], Buffer.from([16]))];
  return element([0x16, 0x54, 0xae, 0x6b], element([0xae], element([0xe0], ...size)));
}

function cluster(): Buffer {
  return element([0x1f, 0x43, 0xb6, 0x75], element([0xa3], Buffer.alloc(20, 1)));
}

/** A PNG of 8 × 8 pixels with these chunks between its header and its end. */
export function pngOf(...chunks: Uint8Array[]): Buffer {
  const headerEnd = 8 + 12 + 13;
  return Buffer.concat([png().subarray(0, headerEnd), ...chunks, pngChunk("IEND")]);
}

export function pngChunk(type: string, content: Uint8Array = new Uint8Array()): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), content]);
  return Buffer.concat([numbers(content.length), named, numbers(crc32(named))]);
}

export function gifOf(...images: Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from("GIF89a\x10\0\x10\0\0\0\0", "latin1"), ...images, Buffer.from(";")]);
}

/** An image with as many bytes of data, in pieces of at most 255. */
export function gifImage(bytes: number, fill = 1): Buffer {
  const pieces = repeated(Math.ceil(bytes / 255), (index) => {
    const length = Math.min(255, bytes - 255 * index);
    return Buffer.concat([Buffer.from([length]), Buffer.alloc(length, fill)]);
  });
  return Buffer.concat([Buffer.from(",\0\0\0\0\x10\0\x10\0\0\x02", "latin1"), ...pieces, Buffer.alloc(1)]);
}
