import {
  BufferSource,
  BufferTarget,
  EncodedPacket,
  EncodedPacketSink,
  EncodedVideoPacketSource,
  Input,
  MATROSKA,
  MP4,
  Mp4OutputFormat,
  Output,
  QTFF,
  WEBM,
} from "mediabunny";
import { bytesInMemory } from "../../supabase/functions/_shared/media/file-parts.ts";
import { inspectMedia } from "../../supabase/functions/_shared/media/media-file.ts";

/** One frame as it is stored. */
export interface Packet {
  data: Uint8Array;
  /** Whether decoding can begin here, as far as the file tells. */
  isKey: boolean;
}

export interface StoredFilm {
  codec: string;
  width: number;
  height: number;
  framesPerSecond: number;
  packets: Packet[];
  /** What a decoder must know first: for H.264 an `avcC` record. */
  configuration: Uint8Array;
}

/** The frames of a film as they are stored, in the order of decoding; nothing where the bytes are no film. */
export async function readFilm(bytes: Uint8Array, mostFrames: number): Promise<StoredFilm | undefined> {
  const input = new Input({ source: new BufferSource(bytes), formats: [MP4, QTFF, WEBM, MATROSKA] });
  try {
    // The library takes the square of the number of tracks, and believes every length.
    if ((await inspectMedia(bytesInMemory(bytes))).medium !== "video") return undefined;
    const track = await input.getPrimaryVideoTrack();
    const { description } = (await track?.getDecoderConfig()) ?? {};
    if (!track?.codec) return undefined;
    const packets: Packet[] = [];
    let seconds = 0;
    for await (const packet of new EncodedPacketSink(track).packets()) {
      if (packets.length === mostFrames) break;
      packets.push({ data: packet.data, isKey: packet.type === "key" });
      seconds = Math.max(seconds, packet.timestamp + packet.duration);
    }
    if (packets.length === 0) return undefined;
    const rate = packets.length / seconds;
    return {
      codec: track.codec,
      width: track.displayWidth,
      height: track.displayHeight,
      framesPerSecond: Number.isFinite(rate) ? Math.min(60, Math.max(1, Math.round(rate * 1000) / 1000)) : 16,
      packets,
      configuration: bytesOf(description),
    };
  } catch {
    return undefined; // Whatever is wrong with it, it is no film that could be shown.
  } finally {
    input.dispose();
  }
}

/** An MP4 that plays while it loads. The same frames and tags give the same bytes. */
export async function writeMp4(
  film: StoredFilm,
  tags: { title: string; artist: string; comment: string },
): Promise<Uint8Array> {
  const target = new BufferTarget();
  const output = new Output({ format: new Mp4OutputFormat({ fastStart: "in-memory" }), target });
  const source = new EncodedVideoPacketSource("avc");
  output.addVideoTrack(source, { frameRate: film.framesPerSecond });
  output.setMetadataTags(tags);
  await output.start();
  const decoderConfig = {
    codec: `avc1.${Buffer.from(film.configuration.subarray(1, 4)).toString("hex")}`,
    codedWidth: film.width,
    codedHeight: film.height,
    description: film.configuration,
  };
  for (const [index, { data, isKey }] of film.packets.entries()) {
    const time = index / film.framesPerSecond;
    const packet = new EncodedPacket(data, isKey ? "key" : "delta", time, 1 / film.framesPerSecond);
    await source.add(packet, index === 0 ? { decoderConfig } : undefined);
  }
  await output.finalize();
  const bytes = new Uint8Array(target.buffer ?? new ArrayBuffer(0));
  forgetTimes(bytes, 0, bytes.length);
  return bytes;
}

/** Boxes that hold the time of their making behind a byte of version and three of flags, and those around them. */
const timed = new Set(["mvhd", "tkhd", "mdhd"]);
const parents = new Set(["moov", "trak", "mdia"]);

function forgetTimes(bytes: Uint8Array, from: number, to: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from; at + 8 <= to;) {
    const size = view.getUint32(at);
    const type = Buffer.from(bytes.subarray(at + 4, at + 8)).toString("latin1");
    if (parents.has(type)) forgetTimes(bytes, at + 8, at + size);
    if (timed.has(type)) bytes.fill(0, at + 12, at + 12 + (bytes[at + 8] === 1 ? 16 : 8));
    // 0 and 1 stand for sizes of media, behind which nothing of ours comes.
    if (size < 8) return;
    at += size;
  }
}

function bytesOf(description: AllowSharedBufferSource | undefined): Uint8Array {
  if (description === undefined) return new Uint8Array();
  return ArrayBuffer.isView(description)
    ? new Uint8Array(description.buffer, description.byteOffset, description.byteLength)
    : new Uint8Array(description);
}
