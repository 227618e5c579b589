// The comment on the pull request: one, which later runs change in place.

export const MARKER = '<!-- terge-review -->'

/** GitHub accepts 65,536 characters. */
const MOST = 60_000
const MOST_PAGES = 20

/** A body that is not too long: graphs go first, then whole recipes. */
export function bodyOf(sections) {
  const whole = (withGraphs, count) => {
    const shown = sections.slice(0, count).map(({ text, graph }) => (withGraphs ? `${text}${graph}` : text))
    const left = sections.length - count
    const more = left > 0 ? [`${left} more recipes are in the summary of the job.`] : []
    return [MARKER, ...shown, ...more].join('\n\n')
  }
  const all = whole(true, sections.length)
  if (all.length <= MOST) return all
  for (let count = sections.length; count > 0; count--) {
    const body = whole(false, count)
    if (body.length <= MOST) return body
  }
  return whole(false, 0)
}

/** Writes the comment, or changes the one of an earlier run. Returns why it could not. */
export async function comment({ api, repository, number, token, body, isNeeded }) {
  const ask = async (method, place, content) => {
    const answer = await fetch(`${api}${place}`, {
      method,
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'user-agent': 'terge-action',
        'x-github-api-version': '2022-11-28',
      },
      ...(content ? { body: JSON.stringify(content) } : {}),
      redirect: 'error',
      signal: AbortSignal.timeout(30_000),
    })
    if (!answer.ok) throw new Error(`GitHub answered ${answer.status}`)
    return answer.json()
  }
  try {
    const issue = `/repos/${repository}/issues/${number}/comments`
    let own
    for (let page = 1; page <= MOST_PAGES && own === undefined; page++) {
      const list = await ask('GET', `${issue}?per_page=100&page=${page}`)
      // Anybody can write the marker: only comments of programs are changed.
      own = list.find(({ body, user }) => user?.type === 'Bot' && body?.startsWith(MARKER))
      if (list.length < 100) break
    }
    if (own) await ask('PATCH', `/repos/${repository}/issues/comments/${Number(own.id)}`, { body })
    else if (isNeeded) await ask('POST', issue, { body })
    return undefined
  } catch (error) {
    return error.message
  }
}
