import { signatureType } from "./content-type.ts";
import { ascii, damaged, type FileBytes, UnusableFile } from "./file-parts.ts";
import { checkAvi, checkFilm, checkMatroska } from "./film-file.ts";
import { checkAvif, checkGif, checkJpeg, checkPng, checkWebp } from "./image-file.ts";
import { type FrameSize, isSize, isTooLarge, longestSide, mostPixels } from "./picture-size.ts";

export type Medium = "image" | "video";

export interface MediaFile {
  /** Null for a file of another kind, such as weights. */
  medium: Medium | null;
  contentType: string;
  width: number | null;
  height: number | null;
}

/**
 * What a file is, by its signature, and whether its container is complete and its frames have a size that can be shown. Reads
 * headers, the tail and the table of contents, each in one pass and of a bounded length; nothing is decoded. A file without a known signature has no medium.
 * @throws UnusableFile, or what `read` throws
 */
export async function inspectMedia(file: FileBytes): Promise<MediaFile> {
  if (file.size === 0) throw new UnusableFile("empty", "is empty (0 bytes)");
  const head = await file.read(0, 64);
  const contentType = typeOf(head);
  const check = contentType === undefined ? undefined : checks[contentType];
  if (contentType === undefined || !check) {
    return { medium: null, contentType: "application/octet-stream", width: null, height: null };
  }
  const size = await check(file);
  if (!isSize(size?.width) || !isSize(size?.height)) {
    throw damaged(nameOf(contentType), "it has no width and height");
  }
  if (isTooLarge(size)) {
    throw new UnusableFile(
      "too_large",
      `is ${size.width} × ${size.height} pixels; at most ${longestSide} a side and ${mostPixels / 1e6} megapixels are accepted`,
    );
  }
  const medium = contentType.startsWith("image/") ? "image" : "video";
  return { medium, contentType, width: size.width, height: size.height };
}

/** What storage shows in place, and the films of workers that it only saves. */
function typeOf(head: Uint8Array): string | undefined {
  const known = signatureType(head);
  if (known) return known;
  if (ascii(head, 0, 4) === "\x1a\x45\xdf\xa3" && ascii(head, 0, 64).includes("matroska")) {
    return "video/x-matroska";
  }
  return ascii(head, 0, 4) === "RIFF" && ascii(head, 8, 12) === "AVI " ? "video/x-msvideo" : undefined;
}

type Check = (file: FileBytes) => Promise<FrameSize | undefined>;

const checks: Record<string, Check> = {
  "image/png": checkPng,
  "image/jpeg": checkJpeg,
  "image/gif": checkGif,
  "image/webp": checkWebp,
  "image/avif": checkAvif,
  "video/mp4": checkFilm,
  "video/quicktime": checkFilm,
  "video/webm": checkMatroska,
  "video/x-matroska": checkMatroska,
  "video/x-msvideo": checkAvi,
};

function nameOf(contentType: string): string {
  return (contentType.split("/")[1] ?? "file").replace("x-", "").toUpperCase();
}
