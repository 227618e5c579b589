// What the quickstart really prints: its commands are run in a copy.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const FOLDER = 'recipes/quickstart'
const RECIPE = `${FOLDER}/rebasin.yml`

/** Shown as typed by whoever has terge on the path; digests change with every version of the plan and are cut. */
const shown = (text) => text.replace(/(sha256|xxh3t):([0-9a-f]{4})[0-9a-f]+/g, '$1:$2…').trimEnd()

export function quickstart() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-readme-'))
  try {
    cpSync(path.join(root, 'recipes/quickstart'), path.join(folder, 'recipes/quickstart'), {
      recursive: true,
      filter: (file) => path.basename(file) !== 'out',
    })
    const node = (...words) =>
      execFileSync(process.execPath, words, {
        cwd: folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
      })
    const terge = (...words) => node(path.join(root, 'bin/run.js'), ...words)
    const plan = terge('plan', RECIPE, '--threads', '2')
      .replace(/\n.*memory: at most.*/, '')
      .replace(/├(─ to read)/, '└$1')
    const run = terge('run', RECIPE, '--threads', '2', '--allow-commands')
    const checkpoints = ['models/mlp-0', 'models/mlp-1'].map((name) => `${FOLDER}/${name}.safetensors`)
    const evaluated = node(`${FOLDER}/evaluate.mjs`, ...checkpoints)
    const lineage = readFileSync(path.join(folder, `${FOLDER}/out/aligned.lineage.json`), 'utf8')
    const tensor = JSON.parse(lineage).tensors['fc1.weight']
    return [
      'What `terge plan` shows of it, from the headers alone:',
      block('', shown(plan)),
      'What `terge run` does (the figures are those of `evaluate.mjs`: the share of 360 test digits read right, and the mean cross-entropy), and how well the two models read by themselves:',
      block(
        '',
        `$ terge run ${RECIPE} --allow-commands\n${run}$ node ${FOLDER}/evaluate.mjs ${FOLDER}/models/*.safetensors\n${evaluated.trimEnd()}`,
      ),
      'And what the lineage of the aligned average says of one of its tensors:',
      block('json', shown(compact({ 'fc1.weight': tensor }))),
    ].join('\n\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const block = (language, text) => `\`\`\`${language}\n${text}\n\`\`\``

/** JSON over lines, with innermost lists and mappings on one. */
const compact = (value) =>
  JSON.stringify(value, null, 2).replace(/([[{])\n\s+([^[\]{}]*?)\n\s+([\]}])/g, (_, open, inside, close) => {
    const line = inside.replace(/\n\s+/g, ' ')
    return `${open}${line}${close}`
  })
