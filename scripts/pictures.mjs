// The pictures in docs/images: the terminal as SVG, and the report page as PNG. A test checks that they are current.
//   node scripts/pictures.mjs --write      needs Chromium for the page: in PATH, or CHROMIUM=/path/to/chromium
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { findChromium } from './chromium.mjs'
import { inCopy } from './readme/quickstart.mjs'
import { svg } from './readme/svg.mjs'

const images = fileURLToPath(new URL('../docs/images/', import.meta.url))
const TIES = 'recipes/quickstart/ties.yml'
const BROKEN = `terge: 1
models: {base: models/base, math: models/math}
merge:
  method: liner
  wieghts: {math: 0.6}
output: ./merged
`

/** Both pictures' sources as they are now: the SVG, and the page's HTML. */
export const sources = () =>
  inCopy(
    ({ folder, terge }) => {
      writeFileSync(path.join(folder, 'recipe.yml'), BROKEN)
      const run = terge('run', TIES, '--allow-commands', '--threads', '2')
      const validate = terge('validate', '--no-models', 'recipe.yml')
      const terminal = [
        `$ terge run ${TIES} --allow-commands`,
        // Progress depends on the machine's speed.
        `${run.stderr}${run.stdout}`
          .trimEnd()
          .replace(/^(\d+ %|\w+: evaluating).*\n/gm, '')
          .replace(/done in [\d.]+ m?s/, 'done in 0.6 s'),
        '$ terge validate recipe.yml',
        `${validate.stderr}${validate.stdout}`.trimEnd(),
      ].join('\n')
      const page = terge('report', 'recipes/quickstart/out/both/lineage.json').stdout
      return { terminal: svg(terminal), page }
    },
    { colour: true },
  )

/** Of the page without digests and versions, which change more often than what one sees. */
export const digest = (page) =>
  createHash('sha256')
    .update(page.replace(/[0-9a-f]{16,}/g, '…').replace(/terge \d+\.\d+\.\d+/g, 'terge'))
    .digest('hex')

export const committed = () => ({
  terminal: readFileSync(path.join(images, 'terminal.svg'), 'utf8'),
  page: readFileSync(path.join(images, 'report.sha256'), 'utf8').trim(),
})

function photograph(page, file) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-page-'))
  try {
    const html = path.join(folder, 'page.html')
    writeFileSync(html, page)
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--window-size=1180,1400']
    const { status, error } = spawnSync(
      findChromium() ?? 'chromium',
      [...flags, `--user-data-dir=${folder}/profile`, `--screenshot=${file}`, pathToFileURL(html).href],
      { stdio: 'ignore', timeout: 60_000 },
    )
    if (status !== 0) throw error ?? new Error(`Chromium exited with ${status}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { terminal, page } = sources()
  if (!process.argv.includes('--write')) {
    const old = committed()
    for (const [name, current] of [
      ['terminal.svg', old.terminal === terminal],
      ['report.png', old.page === digest(page)],
    ]) {
      console.log(`${name}: ${current ? 'current' : 'not current: node scripts/pictures.mjs --write'}`)
      if (!current) process.exitCode = 1
    }
  } else {
    mkdirSync(images, { recursive: true })
    writeFileSync(path.join(images, 'terminal.svg'), terminal)
    if (existsSync(path.join(images, 'report.sha256')) && committed().page === digest(page)) process.exit()
    photograph(page, path.join(images, 'report.png'))
    writeFileSync(path.join(images, 'report.sha256'), `${digest(page)}\n`)
  }
}
