import assert from "node:assert/strict";
import { BufferSource, Input, MP4 } from "mediabunny";

export interface FilmFacts {
  width: number;
  height: number;
  frames: number;
  seconds: number;
  codec: string | null;
  title: string | undefined;
}

/** What an MP4 says of itself. */
export async function factsOfFilm(bytes: Uint8Array): Promise<FilmFacts> {
  const input = new Input({ source: new BufferSource(bytes), formats: [MP4] });
  const track = await input.getPrimaryVideoTrack();
  assert.ok(track, "there is a film");
  const { packetCount } = await track.computePacketStats();
  const facts = {
    width: track.displayWidth,
    height: track.displayHeight,
    frames: packetCount,
    seconds: await track.computeDuration(),
    codec: await track.getCodecParameterString(),
    title: (await input.getMetadataTags()).title,
  };
  input.dispose();
  return facts;
}

/** What anybody reads at a public URL, as a film. */
export async function filmAt(url: unknown): Promise<FilmFacts> {
  const response = await fetch(String(url));
  assert.equal(response.headers.get("content-type"), "video/mp4");
  return await factsOfFilm(new Uint8Array(await response.arrayBuffer()));
}
