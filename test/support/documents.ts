/** README.md, docs/ and the recipes in their code blocks. */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The pages whose code blocks are recipes of today. */
export const documents = (): string[] => [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(`${root}docs`)
    .filter((name) => name.endsWith('.md') && name !== 'style.md' && !name.startsWith('adding-'))
    .map((name) => `docs/${name}`),
]

/** The code blocks of a page in a language. */
export const codeBlocks = (markdown: string, language: string): string[] =>
  [...markdown.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text!)

/** A whole recipe, or a part of one with what it lacks around it. */
export function completed(text: string): string {
  const given = parse(text) as Record<string, unknown>
  if (given.terge !== undefined) return text
  const around = ['terge: 1']
  if (!given.models)
    around.push('models: {base: ./base, math: ./math, code: ./code, chat: ./chat, a: ./a, b: ./b, c: ./c}')
  if (!given.merge && !given.steps) around.push('merge: {method: linear}')
  if (!given.output && !given.outputs) around.push('output: ./merged')
  return `${around.join('\n')}\n${text}`
}
