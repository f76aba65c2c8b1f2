import { Webhook } from "standardwebhooks";

const secretBytes = 32;

/** A secret to sign with: `whsec_` and base64, as Standard Webhooks writes them. */
export function newSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(secretBytes));
  return `whsec_${btoa(String.fromCharCode(...bytes))}`;
}

/** The headers of one attempt: signed with each secret, so that a receiver may know the new one or the one before. */
export function signatureHeaders(
  secrets: readonly string[],
  { id, payload, at }: { id: string; payload: string; at: Date },
): Record<string, string> {
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": secrets.map((secret) => new Webhook(secret).sign(id, at, payload)).join(" "),
  };
}
