import { randomUUID } from "node:crypto";
import type { Actor, Bucket, ObjectMetadata, ObjectRow, WriteRules } from "./catalogue.ts";
import { StorageError } from "./errors.ts";
import { isAllowed } from "./media-type.ts";
import { discard, discardUnlessInDoubt, sizeLimit, type UploadDependencies } from "./upload.ts";

export interface RelocationTarget {
  actor: Actor;
  source: ObjectRow;
  bucket: Bucket;
  name: string;
}

/** Copies an object, its content too: what replaces one of them later leaves the other alone. */
export async function copyObject(
  dependencies: UploadDependencies,
  target: RelocationTarget & { rules: WriteRules; userMetadata: Record<string, unknown> | undefined },
): Promise<{ id: string }> {
  const { catalogue, store } = dependencies;
  const { actor, source, bucket, name, rules } = target;
  const metadata = metadataFor(bucket, source);
  await catalogue.checkWrite(actor, bucket.id, name, rules);
  const version = await copyContent({ store }, source, bucket.id);
  try {
    const userMetadata = target.userMetadata ?? source.user_metadata ?? undefined;
    const object = { bucket: bucket.id, name, version, metadata, userMetadata, ownerId: actor.userId };
    const { id, replaced } = await catalogue.write(actor, object, rules);
    await dependencies.inDoubt.settle([{ bucket: bucket.id, version }]);
    if (replaced) await discard(dependencies, bucket.id, replaced);
    return { id };
  } catch (error) {
    await discardUnlessInDoubt(dependencies, bucket.id, version, error);
    throw error;
  }
}

/** Moves an object; its content moves only from bucket to bucket, for it is not stored under the name. */
export async function moveObject(
  dependencies: UploadDependencies,
  { actor, source, bucket, name }: RelocationTarget,
): Promise<string> {
  const { catalogue, store } = dependencies;
  metadataFor(bucket, source);
  const stays = source.bucket_id === bucket.id;
  const version = stays ? (source.version ?? "") : await copyContent({ store }, source, bucket.id);
  try {
    const id = await catalogue.move(actor, source, { bucket: bucket.id, name, version });
    if (!id) throw new StorageError("NoSuchKey");
    if (!stays) {
      await dependencies.inDoubt.settle([{ bucket: bucket.id, version }]);
      await discard(dependencies, source.bucket_id, source.version);
    }
    return id;
  } catch (error) {
    if (!stays) await discardUnlessInDoubt(dependencies, bucket.id, version, error);
    throw error;
  }
}

/** The facts of the content, which stay; refused where the other bucket takes no such content. */
function metadataFor(bucket: Bucket, { metadata, version }: ObjectRow): ObjectMetadata {
  if (version === null || metadata?.size === undefined || metadata.mimetype === undefined) {
    throw new StorageError("NoSuchKey");
  }
  if (metadata.size > sizeLimit(bucket)) throw new StorageError("EntityTooLarge");
  if (!isAllowed(metadata.mimetype, bucket.allowed_mime_types)) {
    throw new StorageError("InvalidMimeType", `mime type ${metadata.mimetype} is not supported`);
  }
  return metadata as ObjectMetadata;
}

async function copyContent(
  { store }: Pick<UploadDependencies, "store">,
  { bucket_id, version, metadata }: ObjectRow,
  bucket: string,
): Promise<string> {
  const content = await store.read(bucket_id, version ?? "", { start: 0, end: (metadata?.size ?? 0) - 1 });
  // Replaced since its row was read.
  if (!content) throw new StorageError("NoSuchKey");
  const copy = randomUUID();
  await store.put(bucket, copy, content);
  return copy;
}
