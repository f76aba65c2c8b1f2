import { readFileSync } from "node:fs";
import { projectPath } from "../../server/migrate.ts";
import { readFilm, type StoredFilm, writeMp4 } from "../../worker/sandbox/mp4.ts";

let stored: Promise<StoredFilm | undefined> | undefined;

/** A film of so many frames. Each frame is the first one of `test/fixtures/film.mp4`; only the header has the size. */
export async function filmOfFrames({
  frames,
  framesPerSecond,
  width,
  height,
  title = "",
}: {
  frames: number;
  framesPerSecond: number;
  width: number;
  height: number;
  title?: string;
}): Promise<Uint8Array> {
  stored ??= readFilm(new Uint8Array(readFileSync(projectPath("test/fixtures/film.mp4"))), 1);
  const film = await stored;
  const [frame] = film?.packets ?? [];
  if (!film || !frame) throw new Error("the fixture has no frames");
  const packets = Array.from({ length: frames }, () => ({ ...frame, isKey: true }));
  const tags = { title, artist: "", comment: "" };
  return await writeMp4({ ...film, width, height, framesPerSecond, packets }, tags);
}
