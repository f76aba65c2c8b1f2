import { codeOf } from "../postgres/error-code.ts";

/** A refusal in the words of Supabase's storage: clients read `statusCode`, `error` and `message` from the body. */
export class StorageError extends Error {
  readonly code: StorageErrorCode;
  /** Of the response itself; the body carries the telling one. */
  readonly httpStatus: number;
  /** When a later try may do. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: StorageErrorCode, detail?: string, options?: ErrorOptions) {
    super(detail ?? storageErrors[code].message, options);
    this.name = "StorageError";
    this.code = code;
    const { statusCode } = storageErrors[code];
    // Supabase's storage answers 400 to nearly everything; size, hang-ups, availability and bugs keep their own status.
    this.httpStatus = statusCode === 413 || statusCode >= 499 ? statusCode : 400;
    this.retryAfterSeconds = retryAfterSeconds[code];
  }

  body(): { statusCode: string; code: string; error: string; message: string } {
    const { statusCode, error } = storageErrors[this.code];
    return { statusCode: String(statusCode), code: this.code, error, message: this.message };
  }
}

const storageErrors = {
  NoSuchBucket: { statusCode: 404, error: "Bucket not found", message: "Bucket not found" },
  NoSuchKey: { statusCode: 404, error: "not_found", message: "Object not found" },
  NoSuchRoute: { statusCode: 404, error: "Not Found", message: "Storage has nothing at this path" },
  ResourceAlreadyExists: { statusCode: 409, error: "Duplicate", message: "The resource already exists" },
  ResourceLocked: {
    statusCode: 409,
    error: "Conflict",
    message: "The task of this file is finished; its files stay as they are",
  },
  AccessDenied: {
    statusCode: 403,
    error: "Unauthorized",
    message: "new row violates row-level security policy",
  },
  InvalidJWT: { statusCode: 403, error: "Unauthorized", message: "Invalid credentials" },
  InvalidSignature: { statusCode: 400, error: "InvalidSignature", message: "Invalid signature" },
  ExpiredToken: { statusCode: 400, error: "InvalidJWT", message: '"exp" claim timestamp check failed' },
  InvalidKey: { statusCode: 400, error: "InvalidKey", message: "Invalid key" },
  InvalidRequest: { statusCode: 400, error: "Invalid Input", message: "The request is not valid" },
  InvalidImage: { statusCode: 400, error: "invalid_image", message: "The image is too large" },
  InvalidMimeType: { statusCode: 415, error: "invalid_mime_type", message: "mime type is not supported" },
  EntityTooLarge: {
    statusCode: 413,
    error: "Payload too large",
    message: "The object exceeded the maximum allowed size",
  },
  Aborted: { statusCode: 499, error: "Aborted", message: "The upload ended before it was complete" },
  Unavailable: { statusCode: 503, error: "unavailable", message: "Storage cannot serve this now; try again" },
  // Not 507: the workers that exist repeat an upload after 503, and give the task up after 507.
  StorageFull: {
    statusCode: 503,
    error: "storage_full",
    message: "Storage has no room for this file; free space or raise the quota, then try again",
  },
  TooManyOpenFiles: {
    statusCode: 503,
    error: "too_many_open_files",
    message: "Storage has too many files open; try again",
  },
  InternalError: { statusCode: 500, error: "internal", message: "Internal server error" },
} as const satisfies Record<string, { statusCode: number; error: string; message: string }>;

export type StorageErrorCode = keyof typeof storageErrors;

const retryAfterSeconds: Partial<Record<StorageErrorCode, number>> = {
  Unavailable: 2,
  StorageFull: 30,
  TooManyOpenFiles: 2,
};

/** The refusal for an error of the operating system that means: not now. Undefined for any other error. */
export function exhaustionOf(error: unknown): StorageError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = codeOf(cause);
    if (code === "ENOSPC" || code === "EDQUOT") {
      return new StorageError("StorageFull", undefined, { cause: error });
    }
    if (code === "EMFILE" || code === "ENFILE") {
      return new StorageError("TooManyOpenFiles", undefined, { cause: error });
    }
  }
  return undefined;
}
