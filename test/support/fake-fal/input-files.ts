import { bytesInMemory } from "../../../supabase/functions/_shared/media/file-parts.ts";
import { inspectMedia } from "../../../supabase/functions/_shared/media/media-file.ts";
import { falIssue, type FalIssue } from "./check-input.ts";
import { factsOf, type FilmSpec } from "./films.ts";
import type { PictureSize } from "./pictures.ts";
import { inputShape, objectShape, type ObjectShape, type TypeShape } from "./shapes.ts";

/** What an endpoint expects at an address, by the name of the field. */
export type Medium = "picture" | "film" | "weights" | "archive" | "any";

export interface InputFile {
  /** The field of the input, without the places in lists. */
  field: string;
  url: string;
  bytes: Uint8Array;
  picture?: PictureSize;
  film?: FilmSpec;
}

/** Fetches a file as FAL does; undefined where FAL cannot reach it. */
export type Fetcher = (
  url: string,
  medium: Medium,
) => Promise<Uint8Array | undefined> | Uint8Array | undefined;

/** Fetches every file that an input names, and reads its size. What cannot be fetched or read is FAL's 422. */
export async function fetchInputs(
  endpoint: string,
  input: Record<string, unknown>,
  fetch: Fetcher,
): Promise<{ files: InputFile[]; issues: FalIssue[] }> {
  const files: InputFile[] = [];
  const issues: FalIssue[] = [];
  for (const { at, url, medium } of addressesIn(inputShape(endpoint) ?? {}, input, ["body"])) {
    const bytes = await fetch(url, medium);
    if (!bytes) {
      const message = "Failed to download the file. Please check if the URL is accessible and try again.";
      issues.push(falIssue(at, "file_download_error", message, url));
      continue;
    }
    const file: InputFile = { field: String(at.findLast((part) => typeof part === "string")), url, bytes };
    if (medium === "picture") {
      const size = await pictureSize(bytes);
      if (size) file.picture = size;
      else issues.push(falIssue(at, "image_load_error", "Failed to load the image.", url));
    }
    if (medium === "film") {
      const film = await factsOf(bytes);
      if (film) file.film = film;
      else issues.push(falIssue(at, "video_load_error", "Failed to load the video.", url));
    }
    if (medium === "any") {
      const [size, film] = [await pictureSize(bytes), await factsOf(bytes)];
      Object.assign(file, size && { picture: size }, film && { film });
    }
    files.push(file);
  }
  return { files, issues };
}

async function pictureSize(bytes: Uint8Array): Promise<PictureSize | undefined> {
  try {
    const { medium, width, height } = await inspectMedia(bytesInMemory(bytes));
    return medium === "image" && width !== null && height !== null ? { width, height } : undefined;
  } catch {
    return undefined; // Damaged, which FAL says too.
  }
}

interface Address {
  at: (string | number)[];
  url: string;
  medium: Medium;
}

function addressesIn(shape: ObjectShape, value: unknown, at: Address["at"]): Address[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, item]) => {
    const type = shape[name]?.type;
    return type === undefined ? [] : addressesOf(type, item, [...at, name], name);
  });
}

function addressesOf(type: TypeShape, value: unknown, at: Address["at"], name: string): Address[] {
  if (typeof value === "string") {
    const isAddress = type === "file" || /(^|_)urls?$/.test(name) || name === "path";
    return isAddress ? [{ at, url: value, medium: mediumOf(name) }] : [];
  }
  if (typeof type !== "object") return [];
  if ("list" in type && Array.isArray(value)) {
    return value.flatMap((item: unknown, index) => addressesOf(type.list, item, [...at, index], name));
  }
  if ("object" in type) return addressesIn(objectShape(type.object), value, at);
  if ("anyOf" in type) return type.anyOf.flatMap((one) => addressesOf(one, value, at, name));
  return [];
}

function mediumOf(name: string): Medium {
  if (name === "path") return "weights";
  if (name.endsWith("data_url")) return "archive";
  if (name === "url") return "any";
  return name.includes("video") ? "film" : "picture";
}
