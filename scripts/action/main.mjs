// The GitHub Action: validates recipes, writes annotations, and comments what a pull request changes. What comes from the pull request
// (names of files, recipes, models) is data: it is never part of a command line of a shell, and terge escapes what it prints.
import { spawnSync } from 'node:child_process'
import { appendFileSync, readFileSync } from 'node:fs'
import { bodyOf, comment } from './comment.mjs'
import { program } from './program.mjs'
import { baseOf, recipesOf } from './recipes.mjs'

const { INPUT_TOKEN: token, ...env } = process.env
const input = (name, otherwise) => env[`INPUT_${name}`]?.trim() || otherwise

/** Runs terge without the token. */
function terge(file, words) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [file, ...words], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...env, NO_COLOR: '1' },
  })
  if (error) throw error
  return { status, out: stdout, err: stderr }
}

/** A text for the log or an annotation: on one line, which no runner takes for a command. */
const safe = (text) =>
  JSON.stringify(text.replace(/[^\P{C}\n]/gu, '\ufffd'))
    .slice(1, -1)
    .replace(/%/g, '%25')
const say = (text) => console.log(safe(text))

/** A name in Markdown. */
const code = (name) => {
  const text = name.replace(/[\p{C}`|]/gu, '\ufffd')
  return `\`${text}\``
}

/** A name that is no flag. */
const file = (name) => (name.startsWith('-') ? `./${name}` : name)

/** Longer graphs are not drawn. */
const LONGEST_GRAPH = 20_000

function review(run, base, { name, was }, models) {
  const flags = models ? [] : ['--no-models']
  const checked = run(['validate', file(name), '--format', 'github', ...flags])
  process.stdout.write(checked.out)
  if (checked.status !== 0) {
    if (checked.out === '') say(`${name}: ${checked.err}`)
    return {
      valid: false,
      same: false,
      text: `### ${code(name)}\n\n**Not valid**: the annotations of the job say why.`,
      graph: '',
    }
  }
  if (base === undefined) return { valid: true, same: true, text: '', graph: '' }
  const compared = run(['plan', file(name), `--against=${base}:${was}`, '--markdown', '--exit-code', ...flags])
  const made =
    compared.status === 2
      ? run(['plan', file(name), `--against=${base}`, '--markdown', '--exit-code', ...flags])
      : compared
  if (made.status > 1 || made.status === null) {
    say(`${name}: ${made.err}`)
    return {
      valid: true,
      same: false,
      text: `### ${code(name)}\n\nThe plans could not be compared: the log of the job says why.`,
      graph: '',
    }
  }
  const graph = models ? run(['plan', file(name), '--format', 'mermaid']) : { status: 1, out: '' }
  const drawn = graph.status === 0 && graph.out.length <= LONGEST_GRAPH
  return {
    ...{ valid: true, same: made.status === 0, text: made.out.trimEnd() },
    graph: drawn
      ? `\n\n<details><summary>Plan</summary>\n\n\`\`\`mermaid\n${graph.out.trimEnd()}\n\`\`\`\n\n</details>`
      : '',
  }
}

const append = (place, text) => {
  if (place) appendFileSync(place, text)
}

async function main() {
  const event = JSON.parse(readFileSync(env.GITHUB_EVENT_PATH, 'utf8'))
  const models = input('MODELS', 'true') !== 'false'
  const globs = input('RECIPES', '')
    .split('\n')
    .map((glob) => glob.trim())
    .filter((glob) => glob !== '')
  process.chdir(env.GITHUB_WORKSPACE ?? process.cwd())
  const base = baseOf(event)
  const { recipes, removed } = recipesOf(base, globs)
  say(`${recipes.length} recipes to review`)
  const terges = recipes.length > 0 ? program(input('SOURCE', 'npm'), env) : ''
  const reviewed = recipes.map((recipe) => ({
    ...recipe,
    ...review((words) => terge(terges, words), base, recipe, models),
  }))
  const valid = reviewed.every((one) => one.valid)
  const same = reviewed.every((one) => one.same) && removed.length === 0
  const told = reviewed.filter((one) => !one.valid || (one.text !== '' && (one.isChanged || !one.same)))
  const sections = [
    ...told,
    ...removed.map((name) => ({ text: `### ${code(name)}\n\nThe recipe is removed.`, graph: '' })),
  ]
  const shown = sections.length > 0 ? sections : [{ text: 'No recipe changes.', graph: '' }]
  append(env.GITHUB_STEP_SUMMARY, `${shown.map(({ text, graph }) => text + graph).join('\n\n')}\n`.slice(0, 900_000))
  append(env.GITHUB_OUTPUT, `valid=${valid}\nbytes=${same ? 'same' : 'other'}\n`)
  const number = event.pull_request?.number
  if (Number.isSafeInteger(number) && input('COMMENT', 'true') !== 'false') {
    const api = env.GITHUB_API_URL ?? 'https://api.github.com'
    const repository = env.GITHUB_REPOSITORY
    const why = await comment({
      ...{ api, repository, number, token },
      body: bodyOf(shown),
      isNeeded: sections.length > 0,
    })
    // Pull requests of forks have a token that can only read.
    if (why !== undefined)
      console.log(`::notice title=terge::No comment (${safe(why)}). The summary of the job has the review.`)
  }
  if (!valid) process.exitCode = 1
}

main().catch((error) => {
  console.log(`::error title=terge::${safe(error.message)}`)
  process.exitCode = 1
})
