/** What an operator sets for payments; `.env.example` and docs/billing.md say what each is for. */
export const billingVariables = [
  "STRIPE_SECRET_KEY",
  "STRIPE_WEBHOOK_SECRET",
  "STRIPE_API_BASE",
  "FRONTEND_URL",
  "CHECKOUT_ALLOWED_ORIGINS",
  "CHECKOUT_PRODUCT_NAME",
  "RECEIPT_SELLER",
] as const;

export type BillingVariable = (typeof billingVariables)[number];
export type BillingVariables = Partial<Record<BillingVariable, string | undefined>>;

/** The variables as the environment has them; what is set to nothing is not set. */
export function readBillingVariables(valueOf: (name: string) => string | undefined): BillingVariables {
  return Object.fromEntries(billingVariables.map((name) => [name, valueOf(name)?.trim() || undefined]));
}

/** What a checkout is made with; no secrets. */
export interface CheckoutSettings {
  frontendUrl: string | undefined;
  /** Beside the frontend's own. */
  allowedOrigins: readonly string[];
  productName: string;
}

export function checkoutSettings(variables: BillingVariables): CheckoutSettings {
  return {
    frontendUrl: variables.FRONTEND_URL?.replace(/\/+$/, "") || undefined,
    allowedOrigins: (variables.CHECKOUT_ALLOWED_ORIGINS ?? "").split(",").map((origin) => origin.trim()),
    productName: variables.CHECKOUT_PRODUCT_NAME || "Credits",
  };
}
