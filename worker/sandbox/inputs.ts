import type { RunContext } from "../../supabase/functions/_shared/worker/provider.ts";
import { nameOf, type PictureSource } from "./description.ts";
import type { Clip } from "./film.ts";
import { pictureSource } from "./source-image.ts";

/** What a task's params point at, as far as it is in the storage of the host that the worker works for. */
export interface Inputs {
  /** Nothing where there is none, or it cannot be drawn. */
  picture(url: string | undefined): Promise<PictureSource | undefined>;
  /** A film; one that cannot be had is `frames` long. */
  clip(url: string, frames?: number): Promise<Clip>;
}

const largestPicture = 32_000_000;
const largestClip = 64_000_000;
/** Of a film that nothing is known of: three seconds. */
const unknownFrames = 48;

/** The inputs of one run; each is read once. */
export function inputsOf({ client, signal }: RunContext): Inputs {
  const pictures = new Map<string, Promise<PictureSource | undefined>>();
  const clips = new Map<string, Promise<Clip>>();

  async function readPicture(url: string): Promise<PictureSource | undefined> {
    const bytes = await client.readMedia(url, largestPicture, signal);
    return bytes && pictureSource(bytes);
  }
  async function readClip(url: string, frames: number): Promise<Clip> {
    const bytes = await client.readMedia(url, largestClip, signal);
    return { name: nameOf(url) ?? "clip", bytes, frames };
  }
  return {
    async picture(url) {
      return url === undefined ? undefined : await once(pictures, url, () => readPicture(url));
    },
    clip: (url, frames = unknownFrames) => once(clips, url, () => readClip(url, frames)),
  };
}

function once<Value>(
  known: Map<string, Promise<Value>>,
  url: string,
  read: () => Promise<Value>,
): Promise<Value> {
  const value = known.get(url) ?? read();
  known.set(url, value);
  return value;
}
