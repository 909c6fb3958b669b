"""What fixtures/patch/shop.c and shop_fix.c compute, told a second time."""


class Shop:
    """The state of one process."""

    NAMES = ("apple", "pear", "plum")
    WORDS = ("one", "three")
    KINDS = (3, 1, 4, 15, 92, 65)

    def __init__(self) -> None:
        self.stock, self.sold, self.visits, self.total, self.calls = 40, 2, 5, 7, 0

    def old_price(self, item: int) -> int:
        self.visits += 1
        name = self.NAMES[item % 3]
        return len(name) * 100 + item - self.sold + item // 10 + 3 * item + self.stock

    def new_price(self, item: int) -> int:
        self.calls += 1
        self.visits += 2
        self.stock -= 1
        self.sold += 1
        text = f"{self.NAMES[item % 3]}/{self.WORDS[item & 1]}/{item * 0.5:.1f}"
        through_table = 3 * item if item & 1 else item // 10
        kind = self.KINDS[item] if item < 6 else 11
        sums = item - self.sold + item * 10 // 10 + 3 * item + through_table + kind
        return len(text) + sums + self.calls * 1000 + self.old_price(item)

    def old(self, item: int) -> int:
        price = self.old_price(item)
        return price + 1000000 * (item + self.total) + 100000000 * self.visits

    def new(self, item: int) -> int:
        price = self.new_price(item)
        self.total += 1
        return price + 1000000 * (item + self.total + 1) + 100000000 * self.visits
