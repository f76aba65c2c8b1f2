import {
  BufferSource,
  BufferTarget,
  EncodedPacket,
  EncodedPacketSink,
  EncodedVideoPacketSource,
  Input,
  MkvOutputFormat,
  MovOutputFormat,
  MP4,
  Mp4OutputFormat,
  Output,
  type OutputFormat,
  WebMOutputFormat,
} from "mediabunny";
import { film } from "./film.ts";
import { png } from "./png.ts";

/** A complete file of each format that workers send, as small as it can be. */
export interface MediaSample {
  bytes: Uint8Array;
  contentType: string;
  medium: "image" | "video";
}

const images: Record<string, string> = {
  // 1 × 1, grey, baseline.
  jpeg:
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB" +
    "AQEBAQEBAQH/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z",
  gif: "R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=",
  webp: "UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAwA0JaQAA3AA/vuUAAA=",
  avif:
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAGxpYmF2" +
    "aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAAB0AAAAoaWluZgAAAAAAAQAAABppbmZlAgAAAAABAABhdjAx" +
    "Q29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAAAAIAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgQ0MAAAAABNjb2xybmNs" +
    "eAACAAIAAYAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAACVtZGF0EgAKCBgANogQEAwgMg8f8D///8WfhwB8+ErK42A=",
};

export async function mediaSamples(): Promise<Record<string, MediaSample>> {
  const samples: Record<string, MediaSample> = {
    png: { bytes: png(), contentType: "image/png", medium: "image" },
    mp4: { bytes: film(), contentType: "video/mp4", medium: "video" },
    mov: { bytes: await remuxed(new MovOutputFormat()), contentType: "video/quicktime", medium: "video" },
    "mp4 with its table of contents first": {
      bytes: await remuxed(new Mp4OutputFormat({ fastStart: "in-memory" })),
      contentType: "video/mp4",
      medium: "video",
    },
    "mp4 in fragments": {
      bytes: await remuxed(new Mp4OutputFormat({ fastStart: "fragmented" })),
      contentType: "video/mp4",
      medium: "video",
    },
    mkv: { bytes: await remuxed(new MkvOutputFormat()), contentType: "video/x-matroska", medium: "video" },
    "mkv that was streamed": {
      bytes: await remuxed(new MkvOutputFormat({ appendOnly: true })),
      contentType: "video/x-matroska",
      medium: "video",
    },
    webm: { bytes: await webm(), contentType: "video/webm", medium: "video" },
    avi: { bytes: avi(), contentType: "video/x-msvideo", medium: "video" },
  };
  for (const [name, base64] of Object.entries(images)) {
    const bytes = new Uint8Array(Buffer.from(base64, "base64"));
    samples[name] = { bytes, contentType: `image/${name}`, medium: "image" };
  }
  return samples;
}

/** The frames of the small film in another container. */
async function remuxed(format: OutputFormat): Promise<Uint8Array> {
  const input = new Input({ source: new BufferSource(film()), formats: [MP4] });
  const track = await input.getPrimaryVideoTrack();
  const decoderConfig = await track?.getDecoderConfig();
  if (!track || !decoderConfig) throw new Error("the small film has no frames");
  const packets: EncodedPacket[] = [];
  for await (const packet of new EncodedPacketSink(track).packets()) packets.push(packet);
  return await muxed(format, "avc", packets, { decoderConfig });
}

/** Not a frame that anybody could decode, which a container does not ask for. */
async function webm(): Promise<Uint8Array> {
  const packet = new EncodedPacket(
    new Uint8Array([0x10, 2, 0, 0x9d, 1, 0x2a, 16, 0, 16, 0]),
    "key",
    0,
    0.125,
  );
  const decoderConfig = { codec: "vp8", codedWidth: 16, codedHeight: 16 };
  return await muxed(new WebMOutputFormat(), "vp8", [packet], { decoderConfig });
}

async function muxed(
  format: OutputFormat,
  codec: "avc" | "vp8",
  packets: EncodedPacket[],
  meta: EncodedVideoChunkMetadata,
): Promise<Uint8Array> {
  const target = new BufferTarget();
  const output = new Output({ format, target });
  const source = new EncodedVideoPacketSource(codec);
  output.addVideoTrack(source, { frameRate: 8 });
  await output.start();
  for (const packet of packets) await source.add(packet, meta);
  await output.finalize();
  return new Uint8Array(target.buffer ?? new ArrayBuffer(0));
}

/** An AVI of 16 × 16 pixels with one frame that nobody could decode. */
function avi(): Uint8Array {
  const file = Buffer.alloc(112);
  file.write("RIFF", 0, "latin1");
  file.writeUInt32LE(file.length - 8, 4);
  file.write("AVI LIST", 8, "latin1");
  file.writeUInt32LE(68, 16);
  file.write("hdrlavih", 20, "latin1");
  file.writeUInt32LE(56, 28);
  file.writeUInt32LE(16, 64);
  file.writeUInt32LE(16, 68);
  file.write("LIST", 88, "latin1");
  file.writeUInt32LE(16, 92);
  file.write("movi00dc", 96, "latin1");
  file.writeUInt32LE(4, 104);
  file.writeUInt32LE(1, 108);
  return new Uint8Array(file);
}
