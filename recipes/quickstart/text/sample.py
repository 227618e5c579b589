import sys


class Counter:
    """Counts the words of a file."""

    def __init__(self, path, encoding='utf-8'):
        self.path = path
        self.encoding = encoding
        self.counts = {}

    def read(self):
        with open(self.path, encoding=self.encoding) as file:
            for line in file:
                for word in line.split():
                    self.add(word.lower())
        return self

    def add(self, word, count=1):
        if not word:
            raise ValueError('empty word')
        self.counts[word] = self.counts.get(word, 0) + count

    def most_common(self, limit=None):
        items = sorted(self.counts.items(), key=lambda item: item[1], reverse=True)
        return items if limit is None else items[:limit]


def main(args):
    for name in args:
        for word, count in Counter(name).read().most_common(10):
            print('%s: %d' % (word, count))


if __name__ == '__main__':
    main(sys.argv[1:])
