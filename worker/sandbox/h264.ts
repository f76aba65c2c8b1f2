// CommonJS, whose names Node does not see.
import encoders from "h264-mp4-encoder";
import decoders from "h264decoder";
import type { Frame } from "./frame.ts";
import { type Packet, readFilm, type StoredFilm } from "./mp4.ts";

/** Lower is finer; from 10 to 51. */
const quantization = 26;
/** From 0, the best, to 10, the fastest. */
const speed = 6;
/** As far as a player must look back at most to show any frame. */
const framesBetweenKeys = 24;
/** What the decoder has room for. */
const largestUnit = 1024 * 1024;
const baselineProfile = 66;
/** The type of units of a picture that needs none before it (IDR). */
const wholePictureUnit = 5;

/** Frames of one size as H.264 (baseline). Takes a processor for a while. */
export async function encode(
  frames: Iterable<Frame>,
  { width, height, framesPerSecond }: { width: number; height: number; framesPerSecond: number },
): Promise<StoredFilm> {
  const encoder = await encoders.createH264MP4Encoder();
  let isOpen = false;
  try {
    encoder.width = width;
    encoder.height = height;
    encoder.frameRate = framesPerSecond;
    encoder.quantizationParameter = quantization;
    encoder.speed = speed;
    encoder.groupOfPictures = framesBetweenKeys;
    encoder.initialize();
    isOpen = true;
    let count = 0;
    for (const { planes } of frames) {
      encoder.addFrameYuv(planes);
      count += 1;
    }
    isOpen = false;
    encoder.finalize();
    const stored = await readFilm(encoder.FS.readFile(encoder.outputFilename), count);
    if (!stored) throw new Error("the encoder made no film");
    return { ...stored, packets: withKeys(stored), width, height, framesPerSecond };
  } finally {
    // Deleted while it is open, it would take all encoders after it along.
    if (isOpen) encoder.finalize();
    // The file system is shared by all encoders.
    if (encoder.FS.readdir("/").includes(encoder.outputFilename)) encoder.FS.unlink(encoder.outputFilename);
    encoder.delete();
  }
}

/** Whether the frames of a stored film can be seen here: H.264 without what only later profiles have. */
export function isDecodable({ codec, configuration, packets }: StoredFilm): boolean {
  const isBaseline = codec === "avc" && configuration.length > 8 && configuration[1] === baselineProfile;
  return isBaseline && packets.every(({ data }) => data.byteLength < largestUnit);
}

/**
 * The frames from one number on, one for each packet, until the caller has enough. One that is damaged is shown as the one
 * before it.
 */
export function* decode(film: StoredFilm, from: number): Generator<Frame, void, undefined> {
  const decoder = new decoders.H264Decoder();
  const { sets, lengthSize } = readConfiguration(film.configuration);
  for (const unit of sets) decoder.decode(withStartCode(unit));
  const [width, height] = [film.width - (film.width % 2), film.height - (film.height % 2)];
  let last: Frame | undefined;
  const start = withKeys(film).findLastIndex(({ isKey }, index) => isKey && index <= from);
  for (const [number, { data }] of film.packets.entries()) {
    if (number < start) continue;
    for (const unit of unitsOf(data, lengthSize)) {
      if (decoder.decode(withStartCode(unit)) !== decoders.H264Decoder.PIC_RDY) continue;
      last = cropped(decoder, width, height) ?? last;
    }
    if (number >= from && last) yield last;
  }
}

/** Packets with what they say of themselves: not every file tells, or tells the truth, where decoding can begin. */
function withKeys({ packets, configuration }: StoredFilm): Packet[] {
  const { lengthSize } = readConfiguration(configuration);
  return packets.map(({ data }) => {
    const isKey = unitsOf(data, lengthSize).some((unit) => ((unit[0] ?? 0) & 0x1f) === wholePictureUnit);
    return { data, isKey };
  });
}

/** Pictures are stored in whole blocks of 16 × 16; what stands over is not to be seen. */
function cropped(
  decoder: Pick<decoders.H264Decoder, "pic" | "width" | "height">,
  width: number,
  height: number,
): Frame | undefined {
  const { pic, width: stored, height: rows } = decoder;
  if (stored < width || rows < height) return undefined;
  const planes = new Uint8Array((width * height * 3) / 2);
  let [at, plane] = [0, 0];
  for (const half of [1, 2, 2]) {
    for (let y = 0; y < height / half; y += 1, at += width / half) {
      const row = plane + (y * stored) / half;
      planes.set(pic.subarray(row, row + width / half), at);
    }
    plane += (stored * rows) / half ** 2;
  }
  return { width, height, planes };
}

/** The parameter sets of an `avcC` record, and how many bytes tell the length of a unit. */
function readConfiguration(record: Uint8Array): { sets: Uint8Array[]; lengthSize: number } {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const sets: Uint8Array[] = [];
  let at = 5;
  for (const mask of [0x1f, 0xff]) {
    if (at >= record.length) break;
    const count = (record[at] ?? 0) & mask;
    at += 1;
    for (let index = 0; index < count && at + 2 <= record.length; index += 1) {
      const length = view.getUint16(at);
      sets.push(record.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
  }
  return { sets, lengthSize: ((record[4] ?? 3) & 3) + 1 };
}

function unitsOf(data: Uint8Array, lengthSize: number): Uint8Array[] {
  const units: Uint8Array[] = [];
  for (let at = 0; at + lengthSize < data.length;) {
    let length = 0;
    for (let byte = 0; byte < lengthSize; byte += 1) length = length * 256 + (data[at + byte] ?? 0);
    at += lengthSize;
    if (length > 0) units.push(data.subarray(at, at + length));
    at += length;
  }
  return units;
}

function withStartCode(unit: Uint8Array): Uint8Array {
  const coded = new Uint8Array(unit.length + 4);
  coded[3] = 1;
  coded.set(unit, 4);
  return coded;
}
