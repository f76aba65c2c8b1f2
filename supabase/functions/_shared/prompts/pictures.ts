import { Buffer } from "node:buffer";
import { AppError } from "../errors/app-error.ts";
import { signatureType } from "../media/content-type.ts";
import type { Storage } from "../media/storage.ts";
import { findTarget, type Resolve, type TargetPolicy, TargetRefused } from "../outgoing/target.ts";

const types = ["image/png", "image/jpeg", "image/webp", "image/gif"];
/** Of all pictures of one prompt together: as base64 they are a third longer, and Groq takes 4 MB of that. */
export const ownPicturesLimitBytes = 2_900_000;
/** Looking up names is work that others decide the length of. */
const mostHosts = 5;

/** The pictures of a request; each has an address that may be shown to a provider, or is read from our storage. */
export interface Pictures {
  /** What stands for the pictures of one prompt: addresses, and data URLs of what no provider can reach. */
  of(prompt: number, signal: AbortSignal): Promise<string[]>;
}

export interface PictureSources {
  storage: Pick<Storage, "isOpenAddress" | "readOpenFile">;
  resolve: Resolve;
}

/**
 * Looks at every address before anything is asked. A provider fetches what it is shown, so only public HTTPS addresses
 * are; files of our own storage that are not at one, as on a developer's machine, are sent themselves. What needs
 * credentials is never read. `pathOf` names the field that an address is in.
 * @throws AppError `invalid_request`
 */
export async function checkPictures(
  images: readonly (readonly string[])[],
  pathOf: (prompt: number, picture: number) => string,
  { storage, resolve }: PictureSources,
): Promise<Pictures> {
  const hosts = new Set(images.flat().map((address) => new URL(address).hostname));
  if (hosts.size > mostHosts) throw refusal("images", `come from more than ${mostHosts} hosts`);
  const policy = { allowPrivate: false, resolve: once(resolve) };
  const shown = new Set<string>();
  for (const [prompt, addresses] of images.entries()) {
    for (const [picture, address] of addresses.entries()) {
      const reason = await refusalOf(address, policy);
      if (reason === undefined) shown.add(address);
      else if (!storage.isOpenAddress(address)) throw refusal(pathOf(prompt, picture), reason);
    }
  }
  return {
    async of(prompt, signal) {
      let left = ownPicturesLimitBytes;
      const pictures: string[] = [];
      for (const [picture, address] of (images[prompt] ?? []).entries()) {
        if (shown.has(address)) {
          pictures.push(address);
          continue;
        }
        const bytes = await storage.readOpenFile(address, left, signal);
        const path = pathOf(prompt, picture);
        if (bytes === "not found") throw refusal(path, "is not in storage");
        if (bytes === "too large") {
          throw refusal(path, `is too large: those of a prompt have ${ownPicturesLimitBytes} bytes together`);
        }
        const type = signatureType(bytes.subarray(0, 64)) ?? "";
        if (!types.includes(type)) throw refusal(path, "is no PNG, JPEG, WebP or GIF");
        left -= bytes.byteLength;
        pictures.push(`data:${type};base64,${Buffer.from(bytes).toString("base64")}`);
      }
      return pictures;
    },
  };
}

function refusal(path: string, message: string): AppError {
  return new AppError("invalid_request", { issues: [{ path, message }] });
}

async function refusalOf(address: string, policy: TargetPolicy): Promise<string | undefined> {
  try {
    await findTarget(address, policy);
    return undefined;
  } catch (error) {
    if (error instanceof TargetRefused) return error.message;
    throw error;
  }
}

/** Asks for each name once. */
function once(resolve: Resolve): Resolve {
  const asked = new Map<string, Promise<string[]>>();
  return (hostname) => {
    const found = asked.get(hostname) ?? resolve(hostname);
    asked.set(hostname, found);
    return found;
  };
}
