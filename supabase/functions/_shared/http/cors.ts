/** Browsers call from any origin: nothing here rests on cookies. */
export const corsHeaders: Record<string, string> = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers":
    "authorization, x-client-info, apikey, content-type, idempotency-key, x-request-id, x-upsert, x-metadata, " +
    "cache-control, prefer, accept-profile, content-profile, range, x-region, x-supabase-api-version, x-retry-count, traceparent",
  "access-control-expose-headers":
    "x-request-id, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-next-cursor, x-next-before, content-disposition, content-range, location",
  "access-control-max-age": "86400",
};
