print("looking for a GPU")
raise SystemExit(0)
