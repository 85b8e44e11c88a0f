/** Facts that only the sources hold: error codes and bounds, with the comments that explain them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';

export interface Fact {
  readonly name: string;
  readonly value: string | number;
  readonly comment: string;
  /** Relative to the root. */
  readonly file: string;
}

interface Source {
  readonly file: string;
  readonly tree: ts.SourceFile;
}

/** The sources of what is published, tests left out. */
export function readSources(root: string): Source[] {
  return ['packages/protocol/src', 'packages/engine/src'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /(?<![.]test)[.]ts$/.test(entry.name) && !/^testing-/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => ({
        file: relative(root, path),
        tree: ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2023, true),
      })),
  );
}

/** The members of every exported `...Code` object, and the members of a union of `{ code: '...' }`. */
export function errorCodes(sources: readonly Source[]): Fact[] {
  const facts: Fact[] = [];
  for (const { file, tree } of sources) {
    const visit = (node: ts.Node): void => {
      if (ts.isVariableDeclaration(node) && /Code$/.test(node.name.getText())) {
        const object = withoutAssertion(node.initializer);
        if (object !== undefined && ts.isObjectLiteralExpression(object)) {
          for (const member of object.properties) {
            if (!ts.isPropertyAssignment(member) || !ts.isStringLiteral(member.initializer)) continue;
            facts.push({
              name: member.name.getText(),
              value: member.initializer.text,
              comment: commentOf(member, tree),
              file,
            });
          }
        }
      }
      if (ts.isTypeLiteralNode(node) && file.endsWith('/errors.ts')) {
        const code = codeOf(node);
        if (code !== undefined) facts.push({ name: code, value: code, comment: commentBefore(node, tree), file });
      }
      ts.forEachChild(node, visit);
    };
    visit(tree);
  }
  return facts;
}

/** `{ readonly code: 'X'; ... }` -> `X` */
function codeOf(node: ts.TypeLiteralNode): string | undefined {
  const member = node.members.filter(ts.isPropertySignature).find((each) => each.name.getText() === 'code');
  const type = member?.type;
  return type !== undefined && ts.isLiteralTypeNode(type) && ts.isStringLiteral(type.literal)
    ? type.literal.text
    : undefined;
}

/** What an embedder may set of the limits, with its default in the comment. */
export function engineLimits(sources: readonly Source[]): Fact[] {
  return sources.flatMap(({ file, tree }) =>
    tree.statements
      .filter(ts.isInterfaceDeclaration)
      .filter(({ name }) => ['RouterLimits', 'SessionLimits', 'HeartbeatOptions'].includes(name.text))
      .flatMap(({ name, members }) => {
        const option = name.text === 'HeartbeatOptions' ? 'heartbeat' : 'limits';
        return members.map((member) => ({
          name: `${option}.${member.name?.getText() ?? ''}`,
          value: '',
          comment: commentOf(member, tree),
          file,
        }));
      }),
  );
}

/** Names that say that they bound something; sizes of formats and dates do not. */
const BOUND = /^(MAX|MIN)_|_(MS|BYTES|CHARS|LENGTH|SECONDS|LINES|JOBS|EXITS|PINGS)$/;
const NO_BOUND = /_BIT$|_DATE_|INT64|INTEGER|_I64/;

/** Codes that a comment lists as `- \`CODE\` meaning`. */
export function listedCodes(sources: readonly Source[]): Fact[] {
  return sources
    .filter(({ file }) => file.endsWith('errors.ts'))
    .flatMap(({ file, tree }) =>
      [...tree.text.matchAll(/^ \* - `([A-Z]\d+)` (.+)$/gm)].map(([, value = '', comment = '']) => ({
        name: value,
        value,
        comment,
        file,
      })),
    );
}

/** Top-level constants with a number, a name in capitals and a comment: the bounds and times of the engine. */
export function bounds(sources: readonly Source[]): Fact[] {
  return sources.flatMap(({ file, tree }) => {
    const known = new Map<string, number>();
    return tree.statements.filter(ts.isVariableStatement).flatMap((statement) =>
      statement.declarationList.declarations.flatMap((declaration): Fact[] => {
        const name = declaration.name.getText();
        const value = numberOf(declaration.initializer, known);
        if (value === undefined) return [];
        known.set(name, value);
        const comment = commentOf(statement, tree);
        return BOUND.test(name) && !NO_BOUND.test(name) && comment !== '' ? [{ name, value, comment, file }] : [];
      }),
    );
  });
}

/** The value of arithmetic on numbers and on constants met before. */
function numberOf(node: ts.Expression | undefined, known: ReadonlyMap<string, number>): number | undefined {
  if (node === undefined) return undefined;
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (ts.isIdentifier(node)) return known.get(node.text);
  if (ts.isParenthesizedExpression(node)) return numberOf(node.expression, known);
  if (!ts.isBinaryExpression(node)) return undefined;
  const left = numberOf(node.left, known);
  const right = numberOf(node.right, known);
  if (left === undefined || right === undefined) return undefined;
  switch (node.operatorToken.kind) {
    case ts.SyntaxKind.AsteriskToken:
      return left * right;
    case ts.SyntaxKind.AsteriskAsteriskToken:
      return left ** right;
    case ts.SyntaxKind.PlusToken:
      return left + right;
    case ts.SyntaxKind.MinusToken:
      return left - right;
    default:
      return undefined;
  }
}

function withoutAssertion(node: ts.Expression | undefined): ts.Expression | undefined {
  return node !== undefined && ts.isAsExpression(node) ? node.expression : node;
}

/** The JSDoc before a member of a union: it stands before the `|`, which belongs to the union. */
function commentBefore(member: ts.TypeLiteralNode, tree: ts.SourceFile): string {
  const union = ts.isUnionTypeNode(member.parent) ? member.parent : undefined;
  const before = union?.types[union.types.indexOf(member) - 1];
  const text = tree.text.slice(before?.end ?? member.parent.getFullStart(), member.getStart());
  return textOf(/\/\*\*.*?\*\//s.exec(text)?.[0] ?? '');
}

/** The JSDoc right before a node, as one line. */
function commentOf(node: ts.Node, tree: ts.SourceFile): string {
  const range = ts.getLeadingCommentRanges(tree.text, node.getFullStart())?.at(-1);
  return textOf(range === undefined ? '' : tree.text.slice(range.pos, range.end));
}

function textOf(text: string): string {
  if (!text.startsWith('/**') || text.includes('@')) return '';
  return text
    .slice(3, -2)
    .replaceAll(/^\s*\*\s?/gm, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
