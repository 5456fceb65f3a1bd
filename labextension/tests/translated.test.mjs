/** Every text that people see comes from JupyterLab's translator, in a form that can be extracted. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import ts from 'typescript';

const SOURCES = new URL('../src/', import.meta.url);
/** Names of attributes and properties whose value people see or hear. */
const SHOWN =
  /^(title|label|okLabel|cancelLabel|caption|name|text|message|sentence|placeholder|aria-(label|description|valuetext)|textContent|innerText|alt)$/;
/** Calls whose texts people see. */
const SHOWING = /^(showErrorMessage|confirm|alert|(Notification|Dialog)\.\w+)$/;
/** Places where such a word is a name for programs. */
const NOT_SHOWN = new Set(['LabIcon', 'Poll']);

const isWord = text => /\p{L}{2,}/u.test(text);
const texts = node => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);
/** Its own words, without what is put into it. */
const own = node =>
  ts.isTemplateExpression(node)
    ? [node.head, ...node.templateSpans.map(span => span.literal)].map(part => part.text).join(' ')
    : node.text;

/** The texts of an expression that are shown as they are: what a translating call is given is not. */
function* bare(node) {
  if (texts(node)) {
    if (isWord(own(node))) {
      yield node;
    }
  } else if (ts.isConditionalExpression(node)) {
    yield* bare(node.whenTrue);
    yield* bare(node.whenFalse);
  } else if (ts.isBinaryExpression(node)) {
    yield* bare(node.left);
    yield* bare(node.right);
  } else if (ts.isParenthesizedExpression(node) || ts.isJsxExpression(node)) {
    if (node.expression) {
      yield* bare(node.expression);
    }
  }
}

function madeOf(node) {
  let at = node.parent;
  while (at && !ts.isNewExpression(at) && !ts.isStatement(at)) {
    at = at.parent;
  }
  return at && ts.isNewExpression(at) ? at.expression.getText() : '';
}

/** What is wrong in one source, as `line: what`. */
function faults(name, code) {
  const file = ts.createSourceFile(name, code, ts.ScriptTarget.ES2022, true);
  const found = [];
  const tell = (node, what) => {
    const { line } = file.getLineAndCharacterOfPosition(node.getStart());
    found.push(`${name}:${line + 1}: ${what}: ${node.getText().slice(0, 60)}`);
  };
  const look = node => {
    if (ts.isJsxText(node) && isWord(node.text)) {
      tell(node, 'bare text');
    }
    if (ts.isJsxAttribute(node) && SHOWN.test(node.name.getText()) && node.initializer) {
      [...bare(node.initializer)].forEach(each => tell(each, 'bare attribute'));
    }
    if (ts.isPropertyAssignment(node) && SHOWN.test(node.name.getText())) {
      if (!NOT_SHOWN.has(madeOf(node))) {
        [...bare(node.initializer)].forEach(each => tell(each, 'bare property'));
      }
    }
    if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken) {
      const left = node.left;
      if (ts.isPropertyAccessExpression(left) && SHOWN.test(left.name.text)) {
        [...bare(node.right)].forEach(each => tell(each, 'bare assignment'));
      }
    }
    if (ts.isCallExpression(node)) {
      const callee = node.expression.getText();
      if (/(^|\.)(__|_n|_p|_np)$/.test(callee)) {
        const count = callee.endsWith('_n') ? 2 : 1;
        node.arguments
          .slice(0, count)
          .filter(each => !ts.isStringLiteral(each))
          .forEach(each => tell(each, 'can not be extracted'));
      } else if (SHOWING.test(callee)) {
        node.arguments
          .slice(0, 1)
          .flatMap(each => [...bare(each)])
          .forEach(each => tell(each, 'bare message'));
      } else if (callee.endsWith('.setAttribute') && node.arguments.length === 2) {
        const [attribute, value] = node.arguments;
        if (ts.isStringLiteral(attribute) && SHOWN.test(attribute.text)) {
          [...bare(value)].forEach(each => tell(each, 'bare attribute'));
        }
      }
    }
    ts.forEachChild(node, look);
  };
  look(file);
  return found;
}

test('what is bare is found', () => {
  for (const code of [
    'const a = <p>Hello</p>;',
    'const a = <p title="Hello" />;',
    'const a = <p aria-label={x ? "Hello" : name} />;',
    'const a = { label: "Hello" };',
    'const a = { message: `Hello ${name}` };',
    'node.textContent = "Hello";',
    'node.setAttribute("aria-label", "Hello");',
    'Notification.error("Hello");',
    'void showErrorMessage("Hello", error);',
    'const a = words.__(text);',
    'const a = words.__(`Hello ${name}`);',
    'const a = words._n("One", many, 2);'
  ]) {
    assert.equal(faults('x.tsx', code).length, 1, code);
  }
});

test('what is translated, or is for programs, is not', () => {
  for (const code of [
    'const a = <p title={words.__("Hello")}>{words.__("Hello")} · {name}</p>;',
    'const a = new LabIcon({ name: "jupyter-hpcsec:x" });',
    'const a = { label: words.__("Hello %1", name) };',
    'node.setAttribute("role", "region");',
    'const a = words._n("One", "%1 of them", 2);'
  ]) {
    assert.deepEqual(faults('x.tsx', code), [], code);
  }
});

test('no text of ours is bare', () => {
  const names = readdirSync(SOURCES, { recursive: true }).filter(name => /\.tsx?$/.test(name));
  assert.ok(names.length > 10);
  const found = names.flatMap(name => faults(name, readFileSync(new URL(name, SOURCES), 'utf8')));
  assert.deepEqual(found, []);
});
