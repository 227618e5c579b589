/** The GitHub Action, run as a runner runs it, with a server that answers as GitHub does. */
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plainEnv, type Ran } from '../support/terge.js'
import { RECIPE, type Repository, withRepository } from './setup.js'

const MAIN = fileURLToPath(new URL('../../../scripts/action/main.mjs', import.meta.url))

interface Comment {
  readonly id: number
  body: string
  readonly user: { readonly type: string }
}

interface Api {
  readonly url: string
  readonly comments: Comment[]
  readonly requests: string[]
}

/** Comments of one pull request. `status`: the answer to whoever writes. */
async function withApi(status: number, work: (api: Api) => Promise<void>): Promise<void> {
  const comments: Comment[] = [{ id: 1, body: '<!-- terge-review --> mine', user: { type: 'User' } }]
  const requests: string[] = []
  const server = http.createServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => {
      text += chunk
    })
    request.on('end', () => {
      requests.push(`${request.method} ${request.url!.replace(/\?.*/, '')}`)
      const answer = (code: number, value: unknown) => {
        response.writeHead(code, { 'content-type': 'application/json' })
        response.end(JSON.stringify(value))
      }
      if (request.headers.authorization !== 'Bearer secret') return answer(401, {})
      if (request.method === 'GET') return answer(200, comments)
      if (status !== 200) return answer(status, {})
      const { body } = JSON.parse(text) as { body: string }
      const id = Number(/comments\/(\d+)$/.exec(request.url!)?.[1])
      const known = comments.find((one) => one.id === id)
      if (known) known.body = body
      else comments.push({ id: comments.length + 1, body, user: { type: 'Bot' } })
      return answer(known ? 200 : 201, {})
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await work({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, comments, requests })
  } finally {
    server.close()
  }
}

interface Action extends Ran {
  readonly summary: string
  readonly outputs: string
}

function act({ folder, git }: Repository, url: string, more: NodeJS.ProcessEnv = {}): Promise<Action> {
  const beside = (name: string): string => path.join(folder, '.git', name)
  const base = git('rev-parse', 'main').trim()
  writeFileSync(beside('event'), JSON.stringify({ pull_request: { number: 7, base: { sha: base } } }))
  for (const name of ['summary', 'outputs']) writeFileSync(beside(name), '')
  const env: NodeJS.ProcessEnv = {
    ...plainEnv,
    GITHUB_EVENT_PATH: beside('event'),
    GITHUB_WORKSPACE: folder,
    GITHUB_STEP_SUMMARY: beside('summary'),
    GITHUB_OUTPUT: beside('outputs'),
    GITHUB_API_URL: url,
    GITHUB_REPOSITORY: 'org/recipes',
    INPUT_TOKEN: 'secret',
    INPUT_SOURCE: 'checkout',
    ...more,
  }
  const read = (name: string): string => readFileSync(beside(name), 'utf8')
  return new Promise((resolve) =>
    execFile(process.execPath, [MAIN], { env, cwd: folder }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err, summary: read('summary'), outputs: read('outputs') }),
    ),
  )
}

const branch = ({ git, write, commit }: Repository): void => {
  write('recipe.yml', RECIPE)
  write('old/moved.yml', RECIPE.replaceAll('models/', '../models/'))
  write('other.yml', 'key: value\n')
  commit()
  git('checkout', '-q', '-b', 'next')
}

test('changed recipes are validated and compared in one comment, which later runs change in place', () =>
  withRepository((repository) =>
    withApi(200, async ({ url, comments, requests }) => {
      const { write, git, commit } = repository
      branch(repository)
      write('recipe.yml', RECIPE.replace('a: 1', 'a: 3'))
      git('mv', 'old/moved.yml', 'moved.yml')
      write('moved.yml', RECIPE)
      commit()
      const first = await act(repository, url)
      assert.is(first.code, 0, first.out + first.err)
      assert.is(first.outputs, 'valid=true\nbytes=other\n')
      assert.is(comments.length, 2)
      assert.is(comments[0]!.body, '<!-- terge-review --> mine')
      const [, { body }] = comments as [Comment, Comment]
      assert.match(
        body,
        /^<!-- terge-review -->\n\n### `moved.yml`\n\n\*\*The bytes will be the same\*\*, compared with `\w+:old\/moved.yml`/,
      )
      assert.match(body, /### `recipe.yml`\n\n\*\*The bytes will differ: 8 of 8 tensors, 288 B\*\*/)
      assert.match(body, /\| `~` \| 8 \| 288 B \| `weight` of `a` `0\.5` → `0\.75`/)
      assert.match(body, /```mermaid\nflowchart LR\n/)
      assert.is(first.summary.includes(body.slice(30).trim()), true)

      write('recipe.yml', RECIPE.replace('linear', 'liner'))
      commit()
      const second = await act(repository, url)
      assert.is(second.code, 1)
      assert.match(
        second.out,
        /^::error file=recipe\.yml,line=4,endLine=4,col=11,endColumn=16,title=terge unknown-method::/m,
      )
      assert.is(second.outputs, 'valid=false\nbytes=other\n')
      assert.is(comments.length, 2)
      assert.match(comments[1]!.body, /### `recipe.yml`\n\n\*\*Not valid\*\*/)
      assert.is(requests.at(-1), 'PATCH /repos/org/recipes/issues/comments/2')
    }),
  ))

test('without permission to write, the summary of the job has the review', () =>
  withRepository((repository) =>
    withApi(403, async ({ url, comments }) => {
      branch(repository)
      repository.write('recipe.yml', `${RECIPE}# c\n`)
      repository.commit()
      const ran = await act(repository, url, { INPUT_MODELS: 'false' })
      assert.is(ran.code, 0, ran.out + ran.err)
      assert.is(comments.length, 1)
      assert.match(ran.out, /^::notice title=terge::No comment \(GitHub answered 403\)/m)
      assert.match(ran.summary, /### `recipe\.yml`\n\n\*\*It is not known whether the bytes will be the same\*\*/)
    }),
  ))

test('names of files, models and values cannot run commands, forge annotations or break out of the comment', () =>
  withRepository((repository) =>
    withApi(200, async ({ url, comments }) => {
      const { write, commit, folder } = repository
      branch(repository)
      const evil = '`@org/team` </details> ::error::x | $(touch ran) $\u007b{ secrets.X }}'
      const nameless = '-x;touch ran;\n::error file=y::z.yml'
      write(nameless, RECIPE)
      write('`touch ran` @org/team ::warning::.yml', RECIPE.replaceAll(/\ba\b(?=:)/g, JSON.stringify(evil)))
      write('bad.yml', 'terge: 1\nmodels: {"::error::a\\n::set-output name=x::y": 4}\n"\\r::stop-commands::t": 1\n')
      write(
        'recipe.yml',
        RECIPE.replace('linear', 'dare_linear').replace('out/merged', 'out/<img src=x>\\n```\\n@org/team'),
      )
      commit()
      const ran = await act(repository, url)
      assert.is(ran.code, 1)
      assert.throws(() => readFileSync(path.join(folder, 'ran')))
      const commands = ran.out.split('\n').filter((line) => /^\s*::/.test(line))
      assert.ok(commands.length >= 2, ran.out)
      for (const line of commands)
        assert.match(line, /^::(error|warning) file=(bad|recipe)\.yml,|^::(error|warning) file=[^:]*title=terge /)
      const [, { body }] = comments as [Comment, Comment]
      // Outside of code nothing of it is left.
      const outside = body.replace(/```mermaid\n[^`]*\n```/g, '').replace(/(`+)(?!`)[^\n]*?[^`]\1(?!`)/g, '')
      for (const word of ['@org', '<img', 'touch', 'secrets', '::'])
        assert.not.ok(outside.includes(word), `${word}: ${outside}`)
      for (const line of body.split('\n').filter((line) => line.startsWith('| `')))
        assert.is(line.replace(/\\\|/g, '').split('|').length, 7, line)
    }),
  ))

test.run()
