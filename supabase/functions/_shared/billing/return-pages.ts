import { AppError } from "../errors/app-error.ts";
import { notConfigured } from "./stripe.ts";
import type { CheckoutSettings } from "./variables.ts";

/** Where people come back to from Stripe's pages. */
export interface ReturnPages {
  successUrl: string;
  cancelUrl: string;
}

export interface WantedPages {
  successUrl?: string | null | undefined;
  cancelUrl?: string | null | undefined;
}

/** The pages that a caller wants, of an origin on the list; else those of the frontend. */
export function returnPages(wanted: WantedPages, settings: CheckoutSettings): ReturnPages {
  const { frontendUrl } = settings;
  if ((!wanted.successUrl || !wanted.cancelUrl) && originOf(frontendUrl) === undefined) {
    throw notConfigured("FRONTEND_URL");
  }
  const origins = new Set([frontendUrl, ...settings.allowedOrigins].map(originOf));
  for (const name of ["successUrl", "cancelUrl"] as const) {
    const url = wanted[name];
    if (url && !isOfOrigin(url, origins)) throw new AppError("return_url_refused", { field: name });
  }
  return {
    // Stripe puts the session's id there.
    successUrl: wanted.successUrl || `${frontendUrl}/payments/success?session_id={CHECKOUT_SESSION_ID}`,
    cancelUrl: wanted.cancelUrl || `${frontendUrl}/payments/cancel`,
  };
}

/** Of the web alone: other schemes have none that could be compared. */
function originOf(url: string | undefined): string | undefined {
  if (!url || !URL.canParse(url)) return undefined;
  const { protocol, origin } = new URL(url);
  return /^https?:$/.test(protocol) ? origin : undefined;
}

/**
 * Whether a URL is a page of one of these origins, read in one way alone: its text begins with the origin, and it
 * holds nothing that parsers disagree about (backslashes, blanks, control characters).
 */
function isOfOrigin(text: string, origins: Set<string | undefined>): boolean {
  // Printable ASCII, without the backslash.
  if (!/^[!-[\]-~]+$/.test(text) || !URL.canParse(text)) return false;
  const origin = originOf(text);
  if (origin === undefined || !origins.has(origin)) return false;
  return text.startsWith(origin) && /^([/?#]|$)/.test(text.slice(origin.length));
}
