// CommonJS, whose names Node does not see.
import encoders from "h264-mp4-encoder";
import { BufferSource, Input, MATROSKA, MP4, QTFF, WEBM } from "mediabunny";
import { readFilm, type StoredFilm, writeMp4 } from "../../../worker/sandbox/mp4.ts";
import { falColour, type PictureSize } from "./pictures.ts";

export interface FilmSpec extends PictureSize {
  frames: number;
  framesPerSecond: number;
}

/** Two whole pictures of each size; all films of that size are made of them, so that a long film costs no more than a short one. */
const stored = new Map<string, Promise<StoredFilm>>();

/** A playable H.264 MP4 of one colour. `label` is in its metadata, so that no two labels make the same bytes. */
export async function flatFilm(
  { width, height, frames, framesPerSecond }: FilmSpec,
  label: string,
): Promise<Uint8Array> {
  const key = `${width}x${height}`;
  let pair = stored.get(key);
  if (!pair) stored.set(key, (pair = twoPictures({ width, height })));
  const film = await pair;
  const packets = Array.from({ length: frames }, (_, index) => {
    const packet = film.packets[index % film.packets.length];
    if (!packet) throw new Error("the encoder made no picture");
    return { ...packet, isKey: true };
  });
  return await writeMp4(
    { ...film, framesPerSecond, packets },
    { title: "FAL", artist: "fake FAL", comment: label },
  );
}

/** Each can be shown without the other, so they may follow each other in any number. */
async function twoPictures({ width, height }: PictureSize): Promise<StoredFilm> {
  const encoder = await encoders.createH264MP4Encoder();
  try {
    Object.assign(encoder, { width, height, frameRate: 16, quantizationParameter: 40, speed: 10 });
    encoder.groupOfPictures = 1;
    encoder.initialize();
    const planes = planesOf({ width, height });
    for (let count = 0; count < 2; count++) encoder.addFrameYuv(planes);
    encoder.finalize();
    const film = await readFilm(encoder.FS.readFile(encoder.outputFilename), 2);
    if (!film) throw new Error("the encoder made no film");
    return { ...film, width, height };
  } finally {
    if (encoder.FS.readdir("/").includes(encoder.outputFilename)) encoder.FS.unlink(encoder.outputFilename);
    encoder.delete();
  }
}

function planesOf({ width, height }: PictureSize): Uint8Array {
  const [red, green, blue] = [falColour >> 16, (falColour >> 8) & 0xff, falColour & 0xff];
  const planes = new Uint8Array((width * height * 3) / 2);
  const pixels = width * height;
  planes.fill(16 + 0.257 * red + 0.504 * green + 0.098 * blue, 0, pixels);
  planes.fill(128 - 0.148 * red - 0.291 * green + 0.439 * blue, pixels, pixels * 1.25);
  planes.fill(128 + 0.439 * red - 0.368 * green - 0.071 * blue, pixels * 1.25);
  return planes;
}

/** What a film of any kind says of itself; undefined where the bytes are not a film. */
export async function factsOf(bytes: Uint8Array): Promise<FilmSpec | undefined> {
  const input = new Input({ source: new BufferSource(bytes), formats: [MP4, QTFF, WEBM, MATROSKA] });
  try {
    const track = await input.getPrimaryVideoTrack();
    if (!track) return undefined;
    const { packetCount: frames } = await track.computePacketStats();
    const seconds = await track.computeDuration();
    const { displayWidth: width, displayHeight: height } = track;
    return { width, height, frames, framesPerSecond: Math.round((frames / seconds) * 1000) / 1000 };
  } catch {
    return undefined; // Not a film: the caller says so to whoever sent it.
  } finally {
    input.dispose();
  }
}
