/** Reads what FAL's endpoints take and answer from the types of the official client, by TypeScript's own parser. */
import { createRequire } from "node:module";
import path from "node:path";
import {
  type Node,
  type PropertySignatureDeclaration,
  SyntaxKind,
  type TypeNode,
} from "typescript/unstable/ast";
import {
  isArrayTypeNode,
  isIdentifier,
  isLiteralTypeNode,
  isNumericLiteral,
  isPropertySignatureDeclaration,
  isStringLiteral,
  isTypeAliasDeclaration,
  isTypeLiteralNode,
  isTypeReferenceNode,
  isUnionTypeNode,
} from "typescript/unstable/ast/is";
import { API } from "typescript/unstable/sync";
import { fakeEndpoints } from "../test/support/fake-fal/endpoints.ts";
import type { FalShapes, FieldShape, ObjectShape, TypeShape } from "../test/support/fake-fal/shapes.ts";

/** The shapes of these endpoints, with the types that they lead to. */
export function readFalShapes(endpoints: readonly string[] = fakeEndpoints): FalShapes {
  const declared = declaredTypes();
  const map = declared.get("EndpointTypeMap");
  if (!map || !isTypeLiteralNode(map)) throw new Error("The client's types have no EndpointTypeMap.");
  const sides = new Map(propertiesOf(map).map((property) => [nameOf(property), property.type] as const));
  const types: Record<string, ObjectShape> = {};

  const objectNamed = (name: string): string => {
    const node = declared.get(name);
    if (!node) throw new Error(`The client's types do not declare ${name}.`);
    if (isTypeReferenceNode(node) && isIdentifier(node.typeName)) return objectNamed(node.typeName.text);
    if (!isTypeLiteralNode(node)) throw new Error(`The client's type ${name} is not an object.`);
    if (!types[name]) {
      const shape: ObjectShape = (types[name] = {});
      for (const property of propertiesOf(node)) shape[nameOf(property)] = fieldOf(property);
    }
    return name;
  };

  const fieldOf = (property: PropertySignatureDeclaration): FieldShape => {
    if (!property.type) throw new Error(`The field ${nameOf(property)} has no type.`);
    const type = typeOf(property.type);
    const isOptional = property.postfixToken?.kind === SyntaxKind.QuestionToken;
    return { type, ...(!isOptional && { required: true }), ...statedIn(commentOf(property), type) };
  };

  const typeOf = (node: TypeNode): TypeShape => {
    switch (node.kind) {
      case SyntaxKind.StringKeyword:
        return "string";
      case SyntaxKind.NumberKeyword:
        return "number";
      case SyntaxKind.BooleanKeyword:
        return "boolean";
      case SyntaxKind.UnknownKeyword:
      case SyntaxKind.AnyKeyword:
        return "unknown";
    }
    if (isArrayTypeNode(node)) return { list: typeOf(node.elementType) };
    if (isLiteralTypeNode(node)) return { enum: [literalOf(node.literal)] };
    if (isUnionTypeNode(node)) return unionOf(node.types.map((one) => one));
    if (isTypeReferenceNode(node) && isIdentifier(node.typeName)) {
      const [name, [first, second] = []] = [node.typeName.text, node.typeArguments ?? []];
      if (name === "Array" && first) return { list: typeOf(first) };
      if (name === "Record" && second) return { record: typeOf(second) };
      return { object: objectNamed(name) };
    }
    throw new Error(`The client's types use ${SyntaxKind[node.kind]}, which this generator does not read.`);
  };

  const unionOf = (nodes: readonly TypeNode[]): TypeShape => {
    const names = nodes.map((node) =>
      isTypeReferenceNode(node) && isIdentifier(node.typeName) ? node.typeName.text : undefined,
    );
    // `string | Blob | File`: what the client uploads, FAL gets as an address. Its own type of that name stands alone.
    if (names.includes("Blob")) return "file";
    const literals = nodes.filter((node) => isLiteralTypeNode(node));
    const values = literals.map((node) => literalOf(node.literal));
    const others = nodes.filter((node) => !isLiteralTypeNode(node)).map((node) => typeOf(node));
    const all = [...others, ...(values.length > 0 ? [{ enum: values }] : [])];
    const [only] = all;
    return all.length === 1 && only !== undefined ? only : { anyOf: all };
  };

  const found: FalShapes["endpoints"] = {};
  for (const endpoint of [...endpoints].sort()) {
    const type = sides.get(endpoint);
    if (!type || !isTypeLiteralNode(type))
      throw new Error(`The client's types have no endpoint ${endpoint}.`);
    const [input, output] = ["input", "output"].map((side) => {
      const node = propertiesOf(type).find((property) => nameOf(property) === side)?.type;
      if (!node || !isTypeReferenceNode(node) || !isIdentifier(node.typeName))
        throw new Error(`${endpoint} has no ${side}.`);
      return objectNamed(node.typeName.text);
    });
    if (input && output) found[endpoint] = { input, output };
  }
  return { endpoints: found, types: sorted(types) };
}

/** One line for each endpoint and for each type, so that a change shows where it is. */
export function falShapesText({ endpoints, types }: FalShapes): string {
  const lines = (record: Record<string, unknown>) =>
    Object.entries(record)
      .map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)}`)
      .join(",\n");
  return `{\n  "endpoints": {\n${lines(endpoints)}\n  },\n  "types": {\n${lines(types)}\n  }\n}\n`;
}

export function clientTypesFile(): string {
  const main = createRequire(import.meta.url).resolve("@fal-ai/client");
  return path.join(path.dirname(main), "types/endpoints.d.ts");
}

/** Every `export type <name> = …` of the client's endpoints. */
function declaredTypes(): Map<string, TypeNode> {
  const file = clientTypesFile();
  const api = new API();
  try {
    const project = api.updateSnapshot({ openFiles: [file] }).getDefaultProjectForFile(file);
    const source = project?.program.getSourceFile(file);
    if (!source) throw new Error(`${file} cannot be parsed.`);
    const declarations = source.statements.filter((statement) => isTypeAliasDeclaration(statement));
    return new Map(declarations.map(({ name, type }) => [name.text, type]));
  } finally {
    api.close();
  }
}

function propertiesOf(node: Node): PropertySignatureDeclaration[] {
  return isTypeLiteralNode(node)
    ? node.members.filter((member) => isPropertySignatureDeclaration(member))
    : [];
}

function nameOf({ name }: PropertySignatureDeclaration): string {
  if (isIdentifier(name) || isStringLiteral(name)) return name.text;
  throw new Error(`The client's types have a field whose name is a ${SyntaxKind[name.kind]}.`);
}

function literalOf(node: Node): string | number {
  if (isStringLiteral(node)) return node.text;
  if (isNumericLiteral(node)) return Number(node.text);
  throw new Error(`The client's types have a value of the kind ${SyntaxKind[node.kind]}.`);
}

/** The words of the comment above a field, on one line. */
function commentOf(property: PropertySignatureDeclaration): string {
  const text = property.getSourceFile().text.slice(property.pos, property.end);
  const [, comment = ""] = /\/\*\*([\s\S]*?)\*\//.exec(text) ?? [];
  return comment
    .replace(/^\s*\*/gm, "")
    .replace(/\s+/g, " ")
    .trim();
}

const number = String.raw`(-?\d[\d,]*(?:\.\d+)?)`;
/** How the comments state a range: "between 17 to 161", "Range: 0-50", "(0.0-1.0)", "from 1 to 4". */
const ranges = [
  new RegExp(String.raw`\bbetween ${number} (?:to|and) ${number}`, "i"),
  new RegExp(String.raw`\brange:? ${number} ?(?:-|to) ?${number}`, "i"),
  new RegExp(String.raw`\bfrom ${number} to ${number}`, "i"),
  new RegExp(String.raw`\(${number} ?[-–] ?${number}\)`),
];

/** What a comment states of a field's values. */
export function statedIn(comment: string, type: TypeShape): Omit<FieldShape, "type" | "required"> {
  const stated: Omit<FieldShape, "type" | "required"> = {};
  const [, defaultText] = /Default value: `([\s\S]*?)`/.exec(comment) ?? [];
  if (defaultText !== undefined) stated.default = defaultOf(defaultText);
  if (type === "number" || isSize(type)) {
    const [, least, most] = ranges.map((range) => range.exec(comment)).find(Boolean) ?? [];
    if (least !== undefined && most !== undefined) {
      [stated.min, stated.max] = [least, most].map((text) => Number(text.replaceAll(",", ""))) as [
        number,
        number,
      ];
    }
  }
  if (type === "string") {
    const [, longest] = new RegExp(String.raw`\bmax(?:imum)? ${number} char`, "i").exec(comment) ?? [];
    if (longest !== undefined) stated.maxLength = Number(longest.replaceAll(",", ""));
  }
  if (typeof type === "object" && "list" in type) {
    const [, most] = new RegExp(String.raw`\b(?:maximum(?: of)?|up to) ${number}\b`, "i").exec(comment) ?? [];
    if (most !== undefined) stated.maxItems = Number(most);
  }
  return stated;
}

function isSize(type: TypeShape): boolean {
  return (
    typeof type === "object" &&
    "anyOf" in type &&
    type.anyOf.some((one) => typeof one === "object" && "object" in one && one.object === "ImageSize")
  );
}

/** `"none"` and `28` are JSON; `landscape_4_3` is a text without its marks. */
function defaultOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function sorted<Value>(record: Record<string, Value>): Record<string, Value> {
  return Object.fromEntries(Object.entries(record).sort(([one], [other]) => (one < other ? -1 : 1)));
}
