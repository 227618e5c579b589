// What the quickstarts really print: their commands are run in a copy.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
export const FOLDER = 'recipes/quickstart'
const TIES = `${FOLDER}/ties.yml`
const REBASIN = `${FOLDER}/rebasin.yml`

/** Calls `work` with a folder that holds a copy of the quickstart, and with a function that runs terge there. */
export function inCopy(work, { colour = false } = {}) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-readme-'))
  try {
    cpSync(path.join(root, FOLDER), path.join(folder, FOLDER), {
      recursive: true,
      filter: (file) => path.basename(file) !== 'out',
    })
    const node = (...words) => {
      const { TERGE_IO: _, NO_COLOR: __, ...env } = process.env
      const result = spawnSync(process.execPath, words, {
        cwd: folder,
        encoding: 'utf8',
        env: colour ? { ...env, FORCE_COLOR: '1' } : { ...env, NO_COLOR: '1', FORCE_COLOR: undefined },
      })
      if (result.error) throw result.error
      return result
    }
    return work({ folder, node, terge: (...words) => node(path.join(root, 'bin/run.js'), ...words) })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Digests change with every version of the plan and are cut. */
const shown = (text) => text.replace(/(sha256|xxh3t):([0-9a-f]{4})[0-9a-f]+/g, '$1:$2…').trimEnd()
const block = (language, text) => `\`\`\`${language}\n${text}\n\`\`\``
const session = (...lines) => block('', lines.map((line) => line.trimEnd()).join('\n'))

function once(make) {
  let value
  return () => (value ??= make())
}

/** Everything that the pages show of the merge by TIES. */
const ties = once(() =>
  inCopy(({ folder, node, terge }) => {
    const plan = terge('plan', TIES, '--threads', '2').stdout
    const { stdout } = terge('run', TIES, '--threads', '2', '--allow-commands')
    const models = ['base', 'python', 'c'].map((name) => `${FOLDER}/models/${name}`)
    const measured = node(`${FOLDER}/perplexity.mjs`, ...models, `${FOLDER}/out/both`).stdout
    const lineage = JSON.parse(readFileSync(path.join(folder, FOLDER, 'out/both/lineage.json'), 'utf8'))
    return { plan, stdout, measured, tensor: lineage.tensors['model.layers.0.mlp.down_proj.weight'] }
  }),
)

export const tiesResult = () =>
  session(
    `$ terge run ${TIES} --allow-commands`,
    ties().stdout,
    `$ node ${FOLDER}/perplexity.mjs ${FOLDER}/models/{base,python,c} ${FOLDER}/out/both`,
    ties().measured,
  )

/** The plan as a tree; what depends on the machine is cut. */
export const tiesPlan = () =>
  session(
    `$ terge plan ${TIES}`,
    shown(
      ties()
        .plan.replace(/\n.*memory: at most.*/, '')
        .replace(/├(─ to read)/, '└$1'),
    ),
  )

export const tiesLineage = () => block('json', shown(compact({ 'model.layers.0.mlp.down_proj.weight': ties().tensor })))

export const rebasinResult = once(() =>
  inCopy(({ node, terge }) => {
    const { stdout } = terge('run', REBASIN, '--threads', '2', '--allow-commands')
    const checkpoints = ['models/mlp-0', 'models/mlp-1'].map((name) => `${FOLDER}/${name}.safetensors`)
    const evaluated = node(`${FOLDER}/evaluate.mjs`, ...checkpoints).stdout
    return session(
      `$ terge run ${REBASIN} --allow-commands`,
      stdout,
      `$ node ${FOLDER}/evaluate.mjs ${FOLDER}/models/*.safetensors`,
      evaluated,
    )
  }),
)

/** JSON over lines, with innermost lists and mappings on one. */
const compact = (value) =>
  JSON.stringify(value, null, 2).replace(/([[{])\n\s+([^[\]{}]*?)\n\s+([\]}])/g, (_, open, inside, close) => {
    const line = inside.replace(/\n\s+/g, ' ')
    return `${open}${line}${close}`
  })
