/**
 * The headers as they count: clients of auth send an `sb_` key a second time, as bearer, and the gateway of
 * Supabase lets that pass for the key alone.
 */
export function credentialHeaders(headers: Headers): Headers {
  const apiKey = headers.get("apikey");
  const repeated = apiKey?.startsWith("sb_") && headers.get("authorization") === `Bearer ${apiKey}`;
  if (!repeated) return headers;
  const counted = new Headers(headers);
  counted.delete("authorization");
  return counted;
}
