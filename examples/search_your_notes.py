"""Index a few notes in a folder and ask about them, by meaning, by keyword and with a filter."""

from __future__ import annotations

import qvec

NOTES = [
    {"id": "rent", "text": "The rent is due on the third of each month.", "topic": "home", "year": 2025},
    {"id": "tea", "text": "绿茶用八十度的水冲泡，不要用沸水。", "topic": "kitchen", "year": 2024},
    {
        "id": "bread",
        "text": "Sourdough: 500 g flour, 350 g water, 10 g salt, bake at 250 °C.",
        "topic": "kitchen",
        "year": 2023,
    },
]


def main() -> None:
    with qvec.connect("faiss:notes") as database:
        notes = database.collection("notes")
        report = notes.index(NOTES)
        print(f"{report.added} added, {report.unchanged} unchanged")
        for question in ("how hot should the water be for green tea", "when do I pay the landlord", "sourdough"):
            best = notes.search(question, k=1)[0]
            print(f"{question!r}: {best.text}")
        kitchen = notes.search("water", k=5, where="topic = 'kitchen' and year >= 2024")
        print("kitchen notes since 2024:", [hit.id for hit in kitchen])


if __name__ == "__main__":
    main()
