/** A refusal in the words of Supabase's storage: clients read `statusCode`, `error` and `message` from the body. */
export class StorageError extends Error {
  readonly code: StorageErrorCode;
  /** Of the response itself; the body carries the telling one. */
  readonly httpStatus: number;

  constructor(code: StorageErrorCode, detail?: string, options?: ErrorOptions) {
    super(detail ?? storageErrors[code].message, options);
    this.name = "StorageError";
    this.code = code;
    const { statusCode } = storageErrors[code];
    // Supabase's storage answers 400 to nearly everything; size, hang-ups, availability and bugs keep their own status.
    this.httpStatus = statusCode === 413 || statusCode >= 499 ? statusCode : 400;
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
  InternalError: { statusCode: 500, error: "internal", message: "Internal server error" },
} as const satisfies Record<string, { statusCode: number; error: string; message: string }>;

export type StorageErrorCode = keyof typeof storageErrors;
